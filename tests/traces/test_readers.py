"""The readers: every format, and every bad file said in one line."""

import gzip
import hashlib
import json
import os
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsim.errors import InputError
from flowsim.traces import FORMATS, Trace, detect_format, read_trace, write_trace
from support.traces import AZURE as AZURE_2023
from support.traces import MOONCAKE, QWEN, needs_traces

OWN = '{"arrival_s": 0, "input_length": 5}\n'
FILES = {
    "flowsim": '{"arrival_s": 0, "input_length": 7, "class": "a"}\n'
    '{"arrival_s": 0.5, "input_length": 8, "output_length": 3, "class": null}\n'
    '{"arrival_s": 1.25, "input_length": 9, "output_length": null, "class": "b"}\n',
    "qwen": '{"chat_id": 0, "timestamp": 0.0, "input_length": 7, "output_length": 0, "type": "a", "hash_ids": [1]}\n'
    '{"chat_id": 1, "timestamp": 0.5, "input_length": 8, "output_length": 3}\n'
    '{"chat_id": 2, "timestamp": 1.25, "input_length": 9, "output_length": 0, "type": "b"}\n',
    "mooncake": '{"timestamp": 0, "input_length": 7, "output_length": 0, "hash_ids": [0]}\n'
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all the examples of a test."""
    return tmp_path_factory.mktemp("examples")


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
    with pytest.raises(InputError, match=r"line 3: ContextTokens must be .*, got 'x'"):
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


SECONDS = "a finite number of seconds from 0 to 2**40"
LENGTH = "a whole number of tokens from 1 to 2**40"
NEEDED = "expected arrival_s and input_length (format flowsim)"
DATE = "a UTC date and time such as 2023-11-16 18:15:46.6805900"
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.68,7,0\r\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "t.txt: is empty; expected one request per line"),
        ("\n \r\n", "t.txt: is empty"),
        (OWN + "{oops\n", "line 2: is not JSON (Expecting property name enclosed in double quotes): '{oops'; expected"),
        (OWN + "\n\n[1, 2]\n", "line 4: is not a JSON object: [1, 2]; expected one JSON object per line"),
        (OWN + "7", "line 2: is not a JSON object: 7; expected"),
        (OWN + "[" * 100_000, "line 2: is not JSON (too large): '[[["),
        (OWN + "9" * 5000, "line 2: is not JSON (too large): '999"),
        (
            bad_own(arrival_s=...),
            f"line 2: has no field 'arrival_s' among 'input_length'; {NEEDED}",
        ),
        (
            bad_own(input_length=...),
            f"line 2: has no field 'input_length' among 'arrival_s'; {NEEDED}",
        ),
        (bad_own(arrival_s=None), f"line 2: arrival_s must be {SECONDS}, got nothing"),
        (bad_own(arrival_s="1"), f"line 2: arrival_s must be {SECONDS}, got '1'"),
        (bad_own(arrival_s=True), f"line 2: arrival_s must be {SECONDS}, got True"),
        (bad_own(arrival_s=float("nan")), f"line 2: arrival_s must be {SECONDS}, got nan"),
        (bad_own(arrival_s=float("inf")), f"line 2: arrival_s must be {SECONDS}, got inf"),
        (bad_own(arrival_s=-0.5), f"line 2: arrival_s must be {SECONDS}, got -0.5"),
        (bad_own(arrival_s=2**41), f"line 2: arrival_s must be {SECONDS}, got 2199023255552"),
        (bad_own(input_length=0), f"line 2: input_length must be {LENGTH} (0 is that of a request which failed"),
        (bad_own(input_length=-3), f"line 2: input_length must be {LENGTH}, got -3"),
        (bad_own(input_length=1.5), f"line 2: input_length must be {LENGTH}, got 1.5"),
        (bad_own(input_length="5"), f"line 2: input_length must be {LENGTH}, got '5'"),
        (bad_own(input_length=False), f"line 2: input_length must be {LENGTH}, got False"),
        (bad_own(input_length=[5]), f"line 2: input_length must be {LENGTH}, got [5]"),
        (bad_own(input_length=2**41), f"line 2: input_length must be {LENGTH}, got 2199023255552"),
        (bad_own(input_length=10**400), f"line 2: input_length must be {LENGTH}, got 1000000"),
        (
            bad_own(output_length=-1),
            "line 2: output_length must be a whole number of tokens from 0 (unknown) to 2**40, got -1",
        ),
        (bad_own(**{"class": 3}), "line 2: class must be a non-empty Unicode string or null, got 3"),
        (bad_own(**{"class": {}}), "line 2: class must be a non-empty Unicode string or null, got {}"),
        (bad_own(**{"class": ""}), "line 2: class must be a non-empty Unicode string or null, got ''"),
        (OWN.encode() + b"\xff\n", "line 2: byte 0xff is not UTF-8; expected text in UTF-8, plain, gzip or zstd"),
        ("x".encode("utf-16"), "is text in UTF-16; expected text in UTF-8"),
        (b"PK\x03\x04\x9c", "line 1: byte 0x9c is not UTF-8"),
        (b"\x1f\x8b", "gzip data damaged or cut off after line 0"),
        (b"\x1f\x8bnonsense", "gzip data damaged or cut off after line 0"),
        (gzip.compress(OWN.encode() * 9, mtime=0)[:-9], "gzip data damaged or cut off after line"),
        (gzip.compress(OWN.encode(), mtime=0) + b"rubbish", "gzip data damaged or cut off after line"),
        (AZURE + "2023-11-16 18:15:47,x,0\r\n", f"line 3: ContextTokens must be {LENGTH}, got 'x'"),
        (AZURE + "2023-11-16 18:15:47,1_0,0\r\n", f"line 3: ContextTokens must be {LENGTH}, got '1_0'"),
        (AZURE + "2023-11-16 18:15:47,٣,0\r\n", f"line 3: ContextTokens must be {LENGTH}, got '٣'"),
        (
            AZURE + "2023-11-16 18:15:47,8,1_0\r\n",
            "line 3: GeneratedTokens must be a whole number of tokens from 0 (unknown) to 2**40, got '1_0'",
        ),
        (
            "arrival_s,input_length,turn\n0,5,1_0",
            "line 2: turn must be a whole number from -1 (none) to 2**63 - 1, got '1_0'",
        ),
        (AZURE + "2023-11-16 18:15:47,nan,0\r\n", f"line 3: ContextTokens must be {LENGTH}, got 'nan'"),
        (AZURE + "2023-11-16 18:15:47,,0\r\n", f"line 3: ContextTokens must be {LENGTH}, got ''"),
        (AZURE + "2023-11-16 18:15:47,8\r\n", "line 3: has 2 fields; expected 3, as in the header"),
        (AZURE + "\r\n2023-11-16 18:15:47,8,0,1\r\n", "line 4: has 4 fields; expected 3"),
        (AZURE + "2023-13-45 18:15:47,8,0\r\n", f"line 3: TIMESTAMP must be {DATE}, got '2023-13-45 18:15:47'"),
        (AZURE + "1700158546,8,0\r\n", f"line 3: TIMESTAMP must be {DATE}, got '1700158546'"),
        (
            AZURE + "2023-11-16 18:15:47+01:00,8,0\r\n",
            f"line 3: TIMESTAMP must be {DATE}, got '2023-11-16 18:15:47+01:00'",
        ),
        (AZURE + '2023-11-16 18:15:47,"8,0\r\n', "line 3: is not CSV (unexpected end of data); expected"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "t.txt: has no requests; expected one request per line"),
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
        ('{"when": 1, "tokens": 2}', "line 1: has jsonl fields that fit no known format: 'when, tokens'"),
        ('{"timestamp": 1, "input_length": 2}', "has jsonl fields that fit no known format: 'timestamp, input_length'"),
        ("TIMESTAMP,ContextTokenz\n1,2", "has csv fields that fit no known format: 'TIMESTAMP, ContextTokenz'"),
        ("hello", "has csv fields that fit no known format: 'hello'"),
        ("1" * 100_000, "has csv fields that fit no known format: '1111"),
    ],
)
def test_an_unknown_format_lists_the_known_ones(tmp_path, content, found):
    with pytest.raises(InputError) as error:
        read_trace(written(tmp_path, content))
    assert found in str(error.value)
    assert "; expected flowsim (jsonl: arrival_s, input_length); qwen (jsonl: timestamp, " in str(error.value)
    assert "azure (csv: TIMESTAMP, ContextTokens)" in str(error.value)
    assert len(str(error.value)) < 700


def test_the_first_line_must_be_json_when_it_looks_so(tmp_path):
    with pytest.raises(InputError, match=r"line 1: is not JSON \(.*\): '\{\"arrival_s\": 1'"):
        read_trace(written(tmp_path, '{"arrival_s": 1\n'))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"arrival_s": 1,\n', "is one JSON document; expected JSON lines: one JSON object per line"),
        ('{\n"requests": []}\n', "is one JSON document; expected JSON lines"),
        ("[]\n", "is one JSON list; expected JSON lines"),
        ("arrival_s;input_length\n0;5\n", "line 1: has fields separated by semicolons; expected fields separated by"),
        (
            "arrival_s\tinput_length\n0\t5\n",
            "line 1: has fields separated by tabs; expected fields separated by commas",
        ),
        ("Arrival_s,input_length\n0,5\n", "'Arrival_s, input_length'; did you mean 'arrival_s' by 'Arrival_s'?"),
    ],
)
def test_what_was_found_in_place_of_a_trace_is_said(tmp_path, content, message):
    with pytest.raises(InputError) as error:
        read_trace(written(tmp_path, content))
    assert message in str(error.value)


def test_a_named_format_is_obeyed(tmp_path):
    path = written(tmp_path, '{"timestamp": 0, "input_length": 2}\n{"timestamp": 3000, "input_length": 2}\n')
    assert read_trace(path, "mooncake").span_s == 3
    assert read_trace(path, "qwen").span_s == 3000
    with pytest.raises(
        InputError,
        match=r"line 1: has no field 'TIMESTAMP' among .*; expected TIMESTAMP and ContextTokens \(format azure\)",
    ):
        read_trace(path, "azure")
    with pytest.raises(InputError, match="unknown trace format 'moncake'; did you mean 'mooncake'"):
        read_trace(path, "moncake")


def test_what_is_no_file(tmp_path):
    with pytest.raises(InputError, match=r"gone: cannot be read \(No such file or directory\)"):
        read_trace(tmp_path / "gone")
    with pytest.raises(InputError, match="is a folder; expected a trace file"):
        read_trace(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_rather_than_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is not a regular file; expected a trace file"):
        read_trace(tmp_path / "pipe")


def test_the_row_is_named_far_into_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("flowsim.traces.compression.BLOCK_BYTES", 50_000)
    monkeypatch.setattr("flowsim.traces.readers.ROWS_AT_ONCE", 1000)
    with pytest.raises(InputError, match=r"line 5001: input_length must be .*, got 0"):
        read_trace(written(tmp_path, OWN * 5000 + bad_own(input_length=0).splitlines()[1]))


def test_class_numbers_agree_across_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("flowsim.traces.readers.ROWS_AT_ONCE", 2)
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


@pytest.mark.parametrize("bulk_from", [0, 1 << 30])
def test_milliseconds_since_1970_are_seconds_since_then(tmp_path, monkeypatch, bulk_from):
    monkeypatch.setattr("flowsim.traces.readers.BULK_FROM_BYTES", bulk_from)
    path = written(tmp_path, "ts,prompt\n1700000000000,5\n1700000000250,6\n")
    trace = read_trace(path, "arrival_ms=ts,input_length=prompt")
    assert trace.arrival_s.tolist() == [0, 0.25]
    path = written(tmp_path, f"ts,prompt\n0,5\n{1000 * 2**40 + 1000},6\n")
    with pytest.raises(
        InputError, match=r"ts must be .* milliseconds from 0 to 1000 \* 2\*\*40, got '1099511627777000'"
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
    assert read_trace(path).notices == (("all requests arrive at one instant",) if ticks == 1 else ())


def test_irregular_repeats_are_no_ticks(tmp_path):
    rows = ({"timestamp": 7 * tick**2, "input_length": 1, "hash_ids": []} for tick in range(20) for _ in range(5))
    trace = read_trace(written(tmp_path, "\n".join(map(json.dumps, rows))))
    assert len(np.unique(trace.arrival_s)) == 20


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_content_ends_in_anything_but_an_input_error(folder, content):
    path = written(folder, OWN.encode() + content)
    for name in FORMATS:
        try:
            assert len(read_trace(path, name)) > 0
        except InputError as error:
            assert "\n" not in str(error)


@needs_traces
@pytest.mark.parametrize(
    ("path", "rows", "span_s", "mean", "most", "classes"),
    [
        (AZURE_2023, 19366, 3501.721937, 1155, 14050, {}),
        (MOONCAKE, 12031, 3536.999, 12035, 126195, {}),
        (
            QWEN,
            323,
            119.08,
            1604,
            16744,
            {"text": 224, "image": 24, "search": 66, "file": 9},
        ),
    ],
)
def test_production_traces(path, rows, span_s, mean, most, classes):
    facts = read_trace(path, spread=False).describe()
    assert (facts["requests"], facts["span_s"], facts["input_max"]) == (rows, span_s, most)
    assert round(facts["input_mean"]) == mean
    assert facts["classes"] == classes


@needs_traces
def test_mooncake_spread_fills_its_hour():
    path = MOONCAKE
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
    with pytest.raises(InputError, match=r"line 2: input_length must be a whole number .*, got 2 values \(5, 9\)"):
        read_trace(written(tmp_path, rows))
    with pytest.raises(InputError, match=r"line 1: input_length: occurs 2 times"):
        read_trace(written(tmp_path, "arrival_s,input_length,input_length\n0,5,9\n"))
    assert len(read_trace(written(tmp_path, "arrival_s,input_length,x,x\n0,5,9,9\n"))) == 1
    twice = pa.Table.from_arrays([pa.array([0.0]), pa.array([5]), pa.array([9])], ["arrival_s", *["input_length"] * 2])
    pq.write_table(twice, tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"t\.parquet: input_length: occurs 2 times"):
        read_trace(tmp_path / "t.parquet")


def test_parquet_may_hold_dates_and_decimals(tmp_path):
    import datetime
    import decimal

    import pyarrow as pa
    import pyarrow.parquet as pq

    days = [datetime.datetime(2023, 11, day, tzinfo=datetime.UTC) for day in (16, 17)]
    columns = {"TIMESTAMP": days, "ContextTokens": [decimal.Decimal(5), decimal.Decimal(6)]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"row 1: ContextTokens must be .*, got Decimal\('5'\)"):
        read_trace(tmp_path / "t.parquet")
    pq.write_table(pa.table(columns | {"ContextTokens": [5, 6]}), tmp_path / "t.parquet")
    assert read_trace(tmp_path / "t.parquet").arrival_s.tolist() == [0, 86400]


def test_azure_2024_is_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-10 00:00:01+00:00,2399,6\n"
    )
    trace = read_trace(path)
    assert (trace.arrival_s.tolist(), trace.input_length.tolist()) == ([0.0, 0.99007], [2162, 2399])
    assert trace.notices == ("second 0 is 2024-05-10T00:00:00.009930000 UTC",)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.jsonl"])
def test_fields_of_the_users_naming(tmp_path, name):
    import pandas as pd

    frame = pd.DataFrame({"when": [0, 500], "n": [3, 4], "kind": ["a", None]})
    path = tmp_path / name
    writers = {"csv": lambda: frame.to_csv(path, index=False), "parquet": lambda: frame.to_parquet(path)}
    writers.get(name.split(".")[1], lambda: frame.to_json(path, orient="records", lines=True))()
    trace = read_trace(path, "arrival_ms=when, input_length=n, class=kind")
    assert (trace.arrival_s.tolist(), trace.input_length.tolist()) == ([0.0, 0.5], [3, 4])
    assert (trace.class_names, trace.class_code.tolist()) == (("a",), [0, -1])


def test_a_bad_row_of_parquet_is_named(tmp_path):
    import pandas as pd

    path = tmp_path / "t.parquet"
    pd.DataFrame({"arrival_s": [0.0, 1.0], "input_length": [1, 0]}).to_parquet(path)
    with pytest.raises(
        InputError,
        match=r"t\.parquet: row 2: input_length must be a whole number of tokens from 1 to 2\*\*40 .*, got 0",
    ):
        read_trace(path)
    pd.DataFrame({"arrival_s": [0.0, 1.0], "input_length": [1, None]}).to_parquet(path)
    with pytest.raises(InputError, match=r"row 2: input_length must be .*, got (nan|nothing)"):
        read_trace(path)
    pd.DataFrame({"arrival_s": ["0"], "input_length": [1]}).to_parquet(path)
    with pytest.raises(InputError, match=r"row 1: arrival_s must be .*, got '0'"):
        read_trace(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"t\.parquet: is a damaged Parquet file"):
        read_trace(path)


def test_a_quote_that_is_never_closed_swallows_no_rows(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('Timestamp,Request tokens,Response tokens,Model\n5,7,0,"GPT\n6,8,0,GPT\n')
    with pytest.raises(InputError, match="line 3: is not CSV"):
        read_trace(path)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["t.parquet", "t.jsonl.zst", "t.csv.gz", "t.csv"]), st.data())
def test_damaged_files_are_told_or_read(folder, name, data):
    path = folder / name
    write_trace(Trace.of([0, 0.5, 1.25], [7, 8, 9], [0, 3, 0], ["a", None, "b"]), path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        assert len(read_trace(path)) > 0
    except InputError as error:
        assert str(error).startswith(str(path))
        assert "\n" not in str(error)


def test_blocks_must_be_of_one_size(tmp_path):
    row = {"arrival_s": 0, "input_length": 5, "hash_ids": [1]}
    path = tmp_path / "t.jsonl"
    for sizes in ([None], [16, 32]):
        path.write_text("\n".join(json.dumps(row | ({"block_tokens": size} if size else {})) for size in sizes))
        with pytest.raises(InputError, match=r"block_tokens: is .*; expected one size >= 1"):
            read_trace(path)


def test_cut_zstd_is_told(tmp_path):
    path = tmp_path / "t.jsonl.zst"
    write_trace(Trace.of(np.arange(5000.0), np.arange(1, 5001)), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="zstd data damaged or cut off after line"):
        read_trace(path)


def test_fields_that_are_not_read_are_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(",Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n0,5,GPT,7,0,7,API log\n")
    assert read_trace(path).notices == (
        "kept: 1 request that failed on the real server (no output tokens); --drop-failed drops them",
        "shifted by 5 s, so that the first arrival is at 0 s",
        "fields that are not read: Model, Log Type",
    )
    named = read_trace(path, "arrival_s=Timestamp,input_length=Request tokens,class=Log Type")
    assert named.class_names == ("API log",)
