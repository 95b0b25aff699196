"""The readers: every format, and every bad file said in one line."""

import gzip
import hashlib
import json
import os
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowsim
from flowsim.errors import InputError
from flowsim.traces import FORMATS, detect_format, load_trace, read_trace
from support.places import SHARED_TRACES

SHARED = SHARED_TRACES
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the production traces are not here")

OWN = '{"arrival_s": 0, "input_length": 5}\n'
FILES = {
    "flowsim": '{"arrival_s": 0, "input_length": 7, "class": "a"}\n'
    '{"arrival_s": 0.5, "input_length": 8, "output_length": 3, "class": null}\n'
    '{"arrival_s": 1.25, "input_length": 9, "output_length": null, "class": "b"}\n',
    "qwen": '{"chat_id": 0, "timestamp": 0.0, "input_length": 7, "output_length": 0, "type": "a", "hash_ids": [1]}\n'
    '{"chat_id": 1, "timestamp": 0.5, "input_length": 8, "output_length": 3}\n'
    '{"chat_id": 2, "timestamp": 1.25, "input_length": 9, "output_length": 0, "type": "b"}\n',
    "mooncake": '{"timestamp": 0, "input_length": 7, "output_length": 0, "hash_ids": [0, 1]}\n'
    '{"timestamp": 500, "input_length": 8, "output_length": 3, "hash_ids": []}\n'
    '{"timestamp": 1250.0, "input_length": 9.0, "output_length": 0}\n',
    "azure": "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,7,0\r\n"
    "2023-11-16 18:15:47.1805900,8,3\r\n2023-11-16 18:15:47.9305900,9,0",
    "burstgpt": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,GPT,7,0,7,API log\n"
    "5.5,GPT,8,3,11,API log\n6.25,GPT,9,0,9,API log\n",
    "vidur": ",arrived_at,num_prefill_tokens,num_decode_tokens\n0,0.0,7,0\n1,0.5,8,3\n2,1.25,9,0\n",
}


def written(folder, content, name="t.txt"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("squeeze", [bytes, gzip.compress])
def test_every_format_is_found_by_content(tmp_path, name, squeeze):
    path = written(tmp_path, squeeze(FILES[name].encode()))
    assert detect_format(path).name == name
    for trace in (read_trace(path), read_trace(path, name)):
        assert trace.arrival_s.tolist() == [0.0, 0.5, 1.25]
        assert trace.input_length.tolist() == [7, 8, 9]
        assert trace.output_length.tolist() == [0, 3, 0]
        classed = name in ("flowsim", "qwen")
        assert trace.class_names == (("a", "b") if classed else ())
        assert trace.class_code.tolist() == ([0, -1, 1] if classed else [-1, -1, -1])


def test_name_source_and_hash(tmp_path):
    trace = read_trace(written(tmp_path, gzip.compress(OWN.encode(), mtime=0), "my.trace.jsonl.gz"))
    assert trace.name == "my.trace"
    assert trace.source == str(tmp_path / "my.trace.jsonl.gz")
    assert trace.sha256 == hashlib.sha256((tmp_path / "my.trace.jsonl.gz").read_bytes()).hexdigest()


def test_blank_lines_byte_order_marks_and_text_separators_are_no_rows(tmp_path):
    rows = '\n\r\n{"arrival_s": 0, "input_length": 5, "class": "a\u2028b"}\r\n  \n{"arrival_s": 1, "input_length": 5}'
    trace = read_trace(written(tmp_path, b"\xef\xbb\xbf" + rows.encode()))
    assert (len(trace), trace.class_names) == (2, ("a\u2028b",))
    with pytest.raises(InputError, match=r"line 3: ContextTokens is 'x'"):
        read_trace(written(tmp_path, "\nTIMESTAMP,ContextTokens\n2023-11-16 18:15:46,x\n"))


def test_unsorted_time_stamps_are_sorted_with_a_notice(tmp_path):
    lines = [json.dumps({"arrival_s": t, "input_length": n}) for t, n in ((3, 1), (1, 2), (2, 3), (1, 4))]
    trace = read_trace(written(tmp_path, "\n".join(lines)))
    assert trace.input_length.tolist() == [2, 4, 3, 1]
    assert trace.arrival_s.tolist() == [0, 0, 1, 2]
    assert trace.notices == (
        "sorted by arrival: 2 requests had an earlier time than the one before",
        "shifted by 1 s, so that the first arrival is at 0 s",
    )


def test_azure_dates_are_exact_to_100_ns(tmp_path):
    dates = ["2023-12-31 23:59:59.9999999", "2024-01-01 00:00:00.0000001Z", "2024-03-01T00:00:00+00:00"]
    rows = "\n".join(f"{date},1,1" for date in dates)
    trace = read_trace(written(tmp_path, f"TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}\n"))
    assert trace.arrival_s.tolist() == [0.0, 2e-7, 5184000.0000001]
    assert trace.notices == ("second 0 is 2023-12-31T23:59:59.999999900 UTC",)


def bad_own(**fields):
    row = {"arrival_s": 1, "input_length": 5} | fields
    return OWN + json.dumps({key: value for key, value in row.items() if value is not ...})


LENGTH = "allowed: a whole number of tokens from 1 to 2**40"
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.68,7,0\r\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "t.txt: the file is empty; allowed: one request a line"),
        ("\n \r\n", "t.txt: the file is empty"),
        (OWN + "{oops\n", "line 2: '{oops' is not JSON (Expecting property name enclosed in double quotes); allowed"),
        (OWN + "\n\n[1, 2]\n", "line 4: found [1, 2]; allowed: one JSON object a line"),
        (OWN + "7", "line 2: found 7; allowed: one JSON object a line"),
        (OWN + "[" * 100_000, "line 2: '[[["),
        (OWN + "9" * 5000, "line 2: '999"),
        (bad_own(arrival_s=...), "line 2: no field 'arrival_s' among 'input_length'; the format flowsim needs it"),
        (bad_own(input_length=...), "line 2: no field 'input_length' among 'arrival_s'"),
        (bad_own(arrival_s=None), "line 2: arrival_s is None; allowed: a finite number of seconds from 0 to 2**40"),
        (bad_own(arrival_s="1"), "line 2: arrival_s is '1'; allowed"),
        (bad_own(arrival_s=True), "line 2: arrival_s is True; allowed"),
        (bad_own(arrival_s=float("nan")), "line 2: arrival_s is nan; allowed"),
        (bad_own(arrival_s=float("inf")), "line 2: arrival_s is inf; allowed"),
        (bad_own(arrival_s=-0.5), "line 2: arrival_s is -0.5; allowed"),
        (bad_own(arrival_s=2**41), "line 2: arrival_s is 2199023255552; allowed"),
        (bad_own(input_length=0), f"line 2: input_length is 0; {LENGTH}"),
        (bad_own(input_length=-3), f"line 2: input_length is -3; {LENGTH}"),
        (bad_own(input_length=1.5), f"line 2: input_length is 1.5; {LENGTH}"),
        (bad_own(input_length="5"), f"line 2: input_length is '5'; {LENGTH}"),
        (bad_own(input_length=False), f"line 2: input_length is False; {LENGTH}"),
        (bad_own(input_length=[5]), f"line 2: input_length is [5]; {LENGTH}"),
        (bad_own(input_length=2**41), f"line 2: input_length is 2199023255552; {LENGTH}"),
        (bad_own(input_length=10**400), "line 2: input_length is 1000000"),
        (bad_own(output_length=-1), "line 2: output_length is -1; allowed: a whole number of tokens from 0"),
        (bad_own(**{"class": 3}), "line 2: class is 3; allowed: a non-empty string"),
        (bad_own(**{"class": {}}), "line 2: class is {}; allowed: a non-empty string"),
        (bad_own(**{"class": ""}), "line 2: class is ''; allowed: a non-empty string"),
        (OWN.encode() + b"\xff\n", "line 2: byte 0xff is not UTF-8; allowed: UTF-8 text, plain or compressed by gzip"),
        ("x".encode("utf-16"), "line 1: byte 0xff is not UTF-8"),
        (b"PK\x03\x04\x9c", "line 1: byte 0x9c is not UTF-8"),
        (b"\x1f\x8b", "gzip data damaged or cut off after line 0"),
        (b"\x1f\x8bnonsense", "gzip data damaged or cut off after line 0"),
        (gzip.compress(OWN.encode() * 9, mtime=0)[:-9], "gzip data damaged or cut off after line"),
        (gzip.compress(OWN.encode(), mtime=0) + b"rubbish", "gzip data damaged or cut off after line"),
        (AZURE + "2023-11-16 18:15:47,x,0\r\n", f"line 3: ContextTokens is 'x'; {LENGTH}"),
        (AZURE + "2023-11-16 18:15:47,1_0,0\r\n", f"line 3: ContextTokens is '1_0'; {LENGTH}"),
        (AZURE + "2023-11-16 18:15:47,٣,0\r\n", f"line 3: ContextTokens is '٣'; {LENGTH}"),
        (AZURE + "2023-11-16 18:15:47,8,1_0\r\n", "line 3: GeneratedTokens is '1_0'; allowed"),
        ("arrival_s,input_length,turn\n0,5,1_0", "line 2: turn is '1_0'; allowed: a whole number from -1"),
        (AZURE + "2023-11-16 18:15:47,nan,0\r\n", f"line 3: ContextTokens is 'nan'; {LENGTH}"),
        (AZURE + "2023-11-16 18:15:47,,0\r\n", f"line 3: ContextTokens is ''; {LENGTH}"),
        (AZURE + "2023-11-16 18:15:47,8\r\n", "line 3: 2 fields; allowed: 3, as the header has"),
        (AZURE + "\r\n2023-11-16 18:15:47,8,0,1\r\n", "line 4: 4 fields; allowed: 3"),
        (AZURE + "2023-13-45 18:15:47,8,0\r\n", "line 3: TIMESTAMP is '2023-13-45 18:15:47'; allowed: a UTC date and"),
        (AZURE + "1700158546,8,0\r\n", "line 3: TIMESTAMP is '1700158546'; allowed: a UTC date and time such as 2023"),
        (AZURE + "2023-11-16 18:15:47+01:00,8,0\r\n", "line 3: TIMESTAMP is '2023-11-16 18:15:47+01:00'; allowed"),
        (AZURE + '2023-11-16 18:15:47,"8,0\r\n', "line 3: not CSV (unexpected end of data); allowed"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "t.txt: the file has no request; allowed: one request a line"),
    ],
)
def test_bad_files_are_told_in_one_line(tmp_path, content, message):
    path = written(tmp_path, content)
    with pytest.raises(InputError) as error:
        read_trace(path)
    text = str(error.value)
    assert text.startswith(str(path))
    assert message in text
    assert "\n" not in text
    assert len(text) < 400 + len(str(path))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"when": 1, "tokens": 2}', "line 1: the jsonl fields 'when, tokens' fit no known format"),
        ('{"timestamp": 1, "input_length": 2}', "the jsonl fields 'timestamp, input_length' fit no known format"),
        ("TIMESTAMP,ContextTokenz\n1,2", "the csv fields 'TIMESTAMP, ContextTokenz' fit no known format"),
        ("hello", "the csv fields 'hello' fit no known format"),
        ("1" * 100_000, "the csv fields '1111"),
    ],
)
def test_an_unknown_format_lists_the_known_ones(tmp_path, content, found):
    with pytest.raises(InputError) as error:
        read_trace(written(tmp_path, content))
    assert found in str(error.value)
    assert "; allowed: flowsim (jsonl: arrival_s, input_length); qwen (jsonl: timestamp, " in str(error.value)
    assert "azure (csv: TIMESTAMP, ContextTokens)" in str(error.value)
    assert len(str(error.value)) < 700


def test_the_first_line_must_be_json_when_it_looks_so(tmp_path):
    with pytest.raises(InputError, match=r"line 1: '\{\"arrival_s\": 1,' is not JSON"):
        read_trace(written(tmp_path, '{"arrival_s": 1,\n'))
    with pytest.raises(InputError, match=r"line 1: found \[\]; allowed: one JSON object a line"):
        read_trace(written(tmp_path, "[]\n"))


def test_a_named_format_is_obeyed(tmp_path):
    path = written(tmp_path, '{"timestamp": 0, "input_length": 2}\n{"timestamp": 3000, "input_length": 2}\n')
    assert read_trace(path, "mooncake").span_s == 3
    assert read_trace(path, "qwen").span_s == 3000
    with pytest.raises(InputError, match=r"line 1: no field 'TIMESTAMP' among .*; the format azure needs it"):
        read_trace(path, "azure")
    with pytest.raises(InputError, match="unknown trace format 'moncake'; did you mean 'mooncake'"):
        read_trace(path, "moncake")


def test_what_is_no_file(tmp_path):
    with pytest.raises(InputError, match="gone: No such file or directory; allowed: a trace file"):
        read_trace(tmp_path / "gone")
    with pytest.raises(InputError, match="is a directory; allowed: a trace file"):
        read_trace(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_rather_than_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is no regular file; allowed: a trace file"):
        read_trace(tmp_path / "pipe")


def test_the_row_is_named_far_into_the_file(tmp_path):
    with pytest.raises(InputError, match="line 70001: input_length is 0"):
        read_trace(written(tmp_path, OWN * 70_000 + bad_own(input_length=0).splitlines()[1]))


def test_class_numbers_agree_across_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("flowsim.traces.readers.BATCH", 2)
    rows = (json.dumps({"arrival_s": i, "input_length": 1, "class": c}) for i, c in enumerate("abcacbd"))
    trace = read_trace(written(tmp_path, "\n".join(rows)))
    assert trace.class_names == ("a", "b", "c", "d")
    assert trace.class_code.tolist() == [0, 1, 2, 0, 2, 1, 3]


@pytest.mark.parametrize("compress", [gzip.compress, lambda text: pa.compress(text, "zstd", asbytes=True)])
def test_where_a_file_is_cut_off(tmp_path, compress):
    rng = np.random.default_rng(0)
    rows = [json.dumps({"arrival_s": i, "input_length": int(n)}) for i, n in enumerate(rng.integers(1, 2**40, 50_000))]
    with pytest.raises(InputError, match="data damaged or cut off after line") as error:
        read_trace(written(tmp_path, compress("\n".join(rows).encode())[:-1000]))
    assert int(re.search(r"after line (\d+)", str(error.value))[1]) == pytest.approx(49_000, abs=1000)


@pytest.mark.parametrize("fast_from", [0, 1 << 30])
def test_milliseconds_since_1970_are_seconds_since_then(tmp_path, monkeypatch, fast_from):
    monkeypatch.setattr("flowsim.traces.readers.FAST_FROM", fast_from)
    path = written(tmp_path, "ts,prompt\n1700000000000,5\n1700000000250,6\n")
    trace = read_trace(path, "arrival_ms=ts,input_length=prompt")
    assert trace.arrival_s.tolist() == [0, 0.25]
    path = written(tmp_path, f"ts,prompt\n0,5\n{1000 * 2**40 + 1000},6\n")
    with pytest.raises(
        InputError, match=r"ts is '1099511627777000'; allowed: .* milliseconds from 0 to 1000 \* 2\*\*40"
    ):
        read_trace(path, "arrival_ms=ts,input_length=prompt")


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
    assert read_trace(path).notices == ()


def test_irregular_repeats_are_no_ticks(tmp_path):
    rows = ({"timestamp": 7 * tick**2, "input_length": 1, "hash_ids": []} for tick in range(20) for _ in range(5))
    trace = read_trace(written(tmp_path, "\n".join(map(json.dumps, rows))))
    assert len(np.unique(trace.arrival_s)) == 20


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_content_ends_in_anything_but_an_input_error(tmp_path_factory, content):
    path = written(tmp_path_factory.mktemp("fuzz"), OWN.encode() + content)
    for name in FORMATS:
        try:
            assert len(read_trace(path, name)) > 0
        except InputError as error:
            assert "\n" not in str(error)


def test_the_example_is_built_in_unless_a_file_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(load_trace("example")) == 400
    written(tmp_path, OWN, "example")
    assert len(load_trace("example")) == 1
    assert len(load_trace("example", "flowsim", seed=3)) == 1
    with pytest.raises(InputError, match=r"exmaple: no such file; allowed: a trace file, or .* \(example\)"):
        load_trace("exmaple")


@needs_shared
@pytest.mark.parametrize(
    ("path", "rows", "span_s", "mean", "most", "classes"),
    [
        ("azure_llm_2023/AzureLLMInferenceTrace_conv.csv.gz", 19366, 3501.721937, 1155, 14050, {}),
        ("mooncake_fast25/conversation_trace.jsonl.gz", 12031, 3536.999, 12035, 126195, {}),
        (
            "qwen_trace_a/first_2_minutes.jsonl",
            323,
            119.08,
            1604,
            16744,
            {"text": 224, "image": 24, "search": 66, "file": 9},
        ),
    ],
)
def test_production_traces(path, rows, span_s, mean, most, classes):
    facts = read_trace(SHARED / path, spread=False).describe()
    assert (facts["requests"], facts["span_s"], facts["input_max"]) == (rows, span_s, most)
    assert round(facts["input_mean"]) == mean
    assert facts["classes"] == classes


@needs_shared
def test_mooncake_spread_fills_its_hour():
    path = SHARED / "mooncake_fast25/conversation_trace.jsonl.gz"
    arrival = read_trace(path).arrival_s
    assert (np.diff(read_trace(path, spread=False).arrival_s) == 0).mean() > 0.9
    assert (np.diff(arrival) == 0).sum() == 0
    assert np.diff(arrival).std() / np.diff(arrival).mean() < 1.5  # bursts of 3 s are gone


def test_a_field_that_is_there_twice_is_told_not_chosen(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = (
        '{"arrival_s": 0, "input_length": 5}\n{"arrival_s": 1, "input_length": 5, "input_length": 9, "x": 1, "x": 2}\n'
    )
    with pytest.raises(InputError, match=r"line 2: input_length is there 2 times \(5, 9\); allowed: a whole number"):
        read_trace(written(tmp_path, rows))
    with pytest.raises(InputError, match=r"line 1: the field 'input_length' is there 2 times; allowed: once"):
        read_trace(written(tmp_path, "arrival_s,input_length,input_length\n0,5,9\n"))
    assert len(read_trace(written(tmp_path, "arrival_s,input_length,x,x\n0,5,9,9\n"))) == 1
    twice = pa.Table.from_arrays([pa.array([0.0]), pa.array([5]), pa.array([9])], ["arrival_s", *["input_length"] * 2])
    pq.write_table(twice, tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"t\.parquet: the field 'input_length' is there 2 times"):
        read_trace(tmp_path / "t.parquet")


def test_parquet_may_hold_dates_and_decimals(tmp_path):
    import datetime
    import decimal

    import pyarrow as pa
    import pyarrow.parquet as pq

    days = [datetime.datetime(2023, 11, day, tzinfo=datetime.UTC) for day in (16, 17)]
    columns = {"TIMESTAMP": days, "ContextTokens": [decimal.Decimal(5), decimal.Decimal(6)]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"row 1: ContextTokens is Decimal\('5'\)"):
        read_trace(tmp_path / "t.parquet")
    pq.write_table(pa.table(columns | {"ContextTokens": [5, 6]}), tmp_path / "t.parquet")
    assert read_trace(tmp_path / "t.parquet").arrival_s.tolist() == [0, 86400]


@pytest.mark.parametrize(
    "made",
    [
        lambda seed: load_trace("example").sample(5, seed),
        lambda seed: flowsim.traces.synthesize(5, seed=seed),
        lambda seed: flowsim.traces.sample("example", mix={"text": 0.5}, seed=seed),
        lambda seed: flowsim.run("example", limit=5, seed=seed),
    ],
)
def test_a_negative_seed_is_told(made):
    with pytest.raises(InputError, match="seed is -1"):
        made(-1)
