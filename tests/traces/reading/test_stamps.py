"""Coarse time stamps are spread by their data, whatever the format; implausible ones are pointed out."""

import json

import numpy as np
import pytest

import flowsim
from flowsim.errors import InputError
from flowsim.traces import convert, load_trace, read_trace
from support.traces import MOONCAKE, needs_traces, written

SECONDS = 60
TICKS = "ticks of {} s: the requests of each were spread over it at random (seed 0)"
LENGTHS = (200, 400, 800, 1500, 3000)


def poisson(rate_rps=12.0, seed=7, span_s=SECONDS):
    """Arrival times and prompt lengths of Poisson arrivals."""
    rng = np.random.default_rng(seed)
    arrival_s = np.cumsum(rng.exponential(1 / rate_rps, int(2 * rate_rps * span_s)))
    arrival_s = arrival_s[arrival_s < span_s]
    return arrival_s, rng.choice(LENGTHS, arrival_s.size, p=(0.25, 0.25, 0.2, 0.15, 0.15))


def own(path, stamps, lengths):
    rows = (json.dumps({"arrival_s": float(s), "input_length": int(n)}) for s, n in zip(stamps, lengths, strict=True))
    path.write_text("\n".join(rows) + "\n")
    return path


def burstgpt(path, stamps, lengths):
    rows = (f"{s},ChatGPT,{n},10,{n + 10},API log\n" for s, n in zip(stamps, lengths, strict=True))
    path.write_text(f"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n{''.join(rows)}")
    return path


def vidur(path, stamps, lengths):
    rows = (f"{s},{n},10\n" for s, n in zip(stamps, lengths, strict=True))
    path.write_text(f"arrived_at,num_prefill_tokens,num_decode_tokens\n{''.join(rows)}")
    return path


def azure(path, stamps, lengths):
    start = np.datetime64("2024-05-10T10:00:00")
    dates = (str(start + np.timedelta64(int(s), "s")).replace("T", " ") for s in stamps)
    rows = (f"{date},{n},10\n" for date, n in zip(dates, lengths, strict=True))
    path.write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n{''.join(rows)}")
    return path


def named(path, stamps, lengths):
    rows = (f"{s * 1000},{n}\n" for s, n in zip(stamps, lengths, strict=True))
    path.write_text(f"ts,prompt\n{''.join(rows)}")
    return path


@pytest.mark.parametrize("write", [own, burstgpt, vidur, azure, named])
def test_whole_seconds_are_spread_over_the_second_whatever_the_format(tmp_path, write):
    exact, lengths = poisson()
    path = write(tmp_path / "t.txt", np.floor(exact).astype(int), lengths)
    format = "arrival_ms=ts,input_length=prompt" if write is named else None
    trace, plain = read_trace(path, format), read_trace(path, format, spread=False)
    assert TICKS.format(1) in trace.notices and TICKS.format(1) not in plain.notices
    assert np.array_equal(trace.input_length, lengths)  # in the order of the file
    late_s = trace.arrival_s - plain.arrival_s
    assert np.ptp(late_s) <= 1  # each within its second, but for the shift that brings the first arrival to 0
    assert trace.rate_rps == pytest.approx((exact.size - 1) / np.ptp(exact), rel=0.01)
    assert np.diff(trace.arrival_s).std() / np.diff(trace.arrival_s).mean() == pytest.approx(1, abs=0.1)


def test_a_date_moves_with_the_first_arrival(tmp_path):
    exact, lengths = poisson()
    path = azure(tmp_path / "t.csv", np.floor(exact).astype(int), lengths)
    trace, plain = read_trace(path), read_trace(path, spread=False)
    late_s = trace.arrival_s + (trace.start_ns - plain.start_ns) / 1e9 - plain.arrival_s
    assert late_s.min() >= 0 and late_s.max() < 1
    assert trace.notices[0] == f"second 0 is {np.datetime64(trace.start_ns, 'ns')} UTC"


def test_the_attainment_of_whole_seconds_is_nearly_that_of_the_exact_arrivals(tmp_path):
    """Case F01: whole seconds replayed as bursts attain 55 %, exact ones 99 %, by batches of 8192 tokens."""
    exact, lengths = poisson()
    true = own(tmp_path / "exact.jsonl", exact, lengths)
    coarse = burstgpt(tmp_path / "coarse.csv", np.floor(exact).astype(int), lengths)

    def attained(path, **how):
        return flowsim.run(load_trace(path, **how), "fcfs:8192", slo=0.25).summary["attainment"]

    assert attained(coarse) == pytest.approx(attained(true), abs=0.02)
    assert attained(coarse, spread=False) < 0.7
    assert flowsim.run(coarse, "fcfs:8192", slo=0.25, spread=False).summary["attainment"] < 0.7
    assert flowsim.compare(coarse, ["fcfs:8192"], slo=0.25, spread=False).table["attainment"].iloc[0] < 0.7


def test_the_max_goodput_of_whole_seconds_is_that_of_the_exact_arrivals(tmp_path):
    exact, lengths = poisson()
    found = {}
    for name, stamps in (("exact", exact), ("coarse", np.floor(exact).astype(int))):
        path = own(tmp_path / f"{name}.jsonl", stamps, lengths)
        found[name] = (
            flowsim.capacity(str(path), ["fcfs"], slo=0.25, replications=1).table["max_rate_sustained_rps"].iloc[0]
        )
    assert found["coarse"] == pytest.approx(found["exact"], rel=0.1)


@pytest.mark.parametrize(
    ("stamps", "tick"),
    [
        (np.floor(poisson(0.3, span_s=900)[0]), "1"),  # most seconds are empty, few are shared
        (np.floor(poisson(3, span_s=900)[0] / 60) * 60, "60"),
        (np.floor(poisson(12)[0] / 5) * 5, "5"),
        (np.floor(poisson(12)[0] * 10) / 10, "0.1"),
        (np.rint(poisson(12)[0]), "1"),
        (np.append(np.floor(poisson(12)[0]), [60.1234, 60.7651, 61.34]), "1"),  # nearly all
    ],
)
def test_the_tick_is_found(tmp_path, stamps, tick):
    assert TICKS.format(tick) in read_trace(own(tmp_path / "t.jsonl", stamps, np.full(stamps.size, 5))).notices


UNIFORM = np.arange(101.0)


@pytest.mark.parametrize(
    "stamps",
    [
        UNIFORM,  # one request a second: case W_uniform_1rps
        UNIFORM[:5],
        np.repeat(UNIFORM, 10),  # equal batches
        np.sort(np.concatenate([UNIFORM, UNIFORM[::2]])),  # two clients, each at a fixed interval
        np.sort(np.concatenate([UNIFORM, UNIFORM[50:] + 20])),  # two that overlap in part
        np.sort(np.concatenate([UNIFORM, np.full(100, 50.0)])),  # a burst at one instant
        np.array([0, 0, 1, 1, 1, 2, 5, 5, 6]),  # too few to tell
        np.repeat(poisson(2)[0], 5),  # batches at any time
        poisson()[0],
        np.round(poisson(3, span_s=300)[0], 3),  # a log in milliseconds
        np.repeat(7e-3 * UNIFORM**2, 3),
    ],
)
def test_what_is_not_rounded_is_left_alone(tmp_path, stamps):
    path = own(tmp_path / "t.jsonl", stamps, np.full(stamps.size, 5))
    trace = read_trace(path)
    assert np.allclose(trace.arrival_s, stamps - stamps[0])
    assert not any("ticks" in notice for notice in trace.notices)


def test_whole_seconds_kept_for_mooncake_replay_as_their_source_does(tmp_path):
    exact, lengths = poisson(0.5, span_s=600)
    source = burstgpt(tmp_path / "t.csv", np.floor(exact).astype(int), lengths)
    for format, target in (("mooncake", "m.jsonl"), ("flowsim", "f.jsonl"), ("burstgpt", "b.csv")):
        convert(source, tmp_path / target, format)
        again = read_trace(tmp_path / target)
        assert np.abs(again.arrival_s - read_trace(source).arrival_s).max() < 1e-9


@pytest.mark.parametrize(
    ("stamps", "format", "said"),
    [
        (np.arange(200) * 250.0, "arrival_s=arrival_s,input_length=input_length", "0.004 req/s over 200 requests"),
        (np.arange(200) / 4, "arrival_ms=arrival_s,input_length=input_length", "4e+03 req/s over 200 requests"),
        (np.array([0.0, 1.7e9]), None, "they span 19,676 days"),
        (np.zeros(2), None, "all requests arrive at one instant"),
        (np.arange(200) / 4, None, ""),
        (np.arange(99) * 250.0, None, ""),  # too few to judge
    ],
)
def test_time_stamps_in_another_unit_are_suspected(tmp_path, stamps, format, said):
    trace = read_trace(own(tmp_path / "t.jsonl", stamps, np.full(stamps.size, 5)), format)
    assert [said in notice for notice in trace.notices] == [True] * bool(said)


def test_the_unit_that_was_read_is_named(tmp_path):
    trace = read_trace(own(tmp_path / "t.jsonl", np.arange(200) * 250.0, np.full(200, 5)))
    ask = "is 'arrival_s', read as seconds, in another unit?"
    assert trace.notices == (f"suspicious time stamps: 0.004 req/s over 200 requests; {ask}",)


FAILED = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,0,1087,Conversation log
118,GPT-4,0,0,0,API log
200,GPT-4,100,7,107,API log
"""


@pytest.mark.parametrize("bulk_from", [0, 1 << 30])
def test_rows_of_failed_requests_are_dropped_on_demand(tmp_path, monkeypatch, bulk_from):
    """Case W_burstgpt_failed."""
    monkeypatch.setattr("flowsim.traces.reading.reader.BULK_FROM_BYTES", bulk_from)
    path = tmp_path / "failed.csv"
    path.write_text(FAILED)
    with pytest.raises(InputError, match=r"line 4: Request tokens must be .* \(.* --drop-failed drops .*\), got '0'"):
        read_trace(path)
    trace = load_trace(path, drop_failed=True)
    assert (trace.arrival_s.tolist(), trace.input_length.tolist()) == ([0, 195], [472, 100])
    assert trace.notices[0] == "dropped: 2 requests that failed on the real server"
    path.write_text(FAILED.replace("118,GPT-4,0,0,0,API log\n", ""))
    kept = "kept: 1 request that failed on the real server (no output tokens); --drop-failed drops them"
    assert read_trace(path).notices[0] == kept


def test_elsewhere_an_output_of_0_is_unknown(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text(
        '{"arrival_s": 0, "input_length": 0, "class": "a", "hash_ids": []}\n'
        '{"arrival_s": 1, "input_length": 40, "output_length": 0, "class": "b", "hash_ids": [1, 2], "block_tokens": 32}'
    )
    trace = read_trace(path, drop_failed=True)
    assert trace.notices[0] == "dropped: 1 request that failed on the real server"
    assert (len(trace), trace.blocks.ids.tolist(), trace.class_names[trace.class_code[0]]) == (1, [1, 2], "b")
    path.write_text("Timestamp,Request tokens\n0,5\n1,6\n")  # BurstGPT's format, no column of responses
    assert len(read_trace(path, drop_failed=True)) == 2


def ticked(folder, ticks, each):
    row = '{{"timestamp": {}, "input_length": {}, "output_length": 1, "hash_ids": [0]}}\n'
    lines = (row.format(tick * 3000 + (tick % 5 == 4), 1 + i) for tick in range(ticks) for i in range(each))
    return written(folder, "".join(lines))


def test_ticks_are_spread_in_order(tmp_path):
    path = ticked(tmp_path, ticks=20, each=10)
    plain, trace = read_trace(path, spread=False), read_trace(path)
    assert len(np.unique(plain.arrival_s)) == 20
    assert len(np.unique(trace.arrival_s)) == 200
    assert np.array_equal(plain.input_length, trace.input_length)
    late = trace.arrival_s - plain.arrival_s  # but for the shift that brings the first arrival to 0
    assert late.max() - late.min() <= 3.001
    assert trace.notices == ("ticks of 3 s: the requests of each were spread over it at random (seed 0)",)
    assert not np.array_equal(read_trace(path, seed=1).arrival_s, trace.arrival_s)
    assert np.array_equal(read_trace(path).arrival_s, trace.arrival_s)
    assert not trace.arrival_s.flags.writeable


@pytest.mark.parametrize(("ticks", "each"), [(20, 1), (2, 50), (1, 50)])
def test_what_has_no_ticks_is_left_alone(tmp_path, ticks, each):
    path = ticked(tmp_path, ticks, each)
    assert read_trace(path).notices == (("all requests arrive at one instant",) if ticks == 1 else ())


def test_irregular_repeats_are_no_ticks(tmp_path):
    rows = ({"timestamp": 7 * tick**2, "input_length": 1, "hash_ids": []} for tick in range(20) for _ in range(5))
    trace = read_trace(written(tmp_path, "\n".join(map(json.dumps, rows))))
    assert len(np.unique(trace.arrival_s)) == 20


@needs_traces
def test_mooncake_spread_fills_its_hour():
    path = MOONCAKE
    arrival = read_trace(path).arrival_s
    assert (np.diff(read_trace(path, spread=False).arrival_s) == 0).mean() > 0.9
    assert (np.diff(arrival) == 0).sum() == 0
    assert np.diff(arrival).std() / np.diff(arrival).mean() < 1.5  # bursts of 3 s are gone
