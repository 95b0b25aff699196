"""Rows read one by one: a bad one is told with its file, line, field and value."""

import gzip

import pyarrow as pa
import pytest

from flowsim.errors import InputError
from flowsim.traces import read_trace
from support.traces import OWN, bad_own, written


def test_azure_dates_are_exact_to_100_ns(tmp_path):
    dates = ["2023-12-31 23:59:59.9999999", "2024-01-01 00:00:00.0000001Z", "2024-03-01T00:00:00+00:00"]
    rows = "\n".join(f"{date},1,1" for date in dates)
    trace = read_trace(written(tmp_path, f"TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}\n"))
    assert trace.arrival_s.tolist() == [0.0, 2e-7, 5184000.0000001]
    assert trace.notices == ("second 0 is 2023-12-31T23:59:59.999999900 UTC",)


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
        (OWN + "[" * 100_000, "line 2: is not JSON (nested too deeply): '[[["),
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
        (bad_own(arrival_s=2**41), f"line 2: arrival_s must be {SECONDS} (milliseconds? "),
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


@pytest.mark.parametrize("bulk_from", [0, 1 << 30])
def test_milliseconds_since_1970_are_seconds_since_then(tmp_path, monkeypatch, bulk_from):
    monkeypatch.setattr("flowsim.traces.reading.reader.BULK_FROM_BYTES", bulk_from)
    path = written(tmp_path, "ts,prompt\n1700000000000,5\n1700000000250,6\n")
    trace = read_trace(path, "arrival_ms=ts,input_length=prompt")
    assert trace.arrival_s.tolist() == [0, 0.25]
    path = written(tmp_path, f"ts,prompt\n0,5\n{1000 * 2**40 + 1000},6\n")
    with pytest.raises(
        InputError, match=r"ts must be .* milliseconds from 0 to 1000 \* 2\*\*40 .*, got '1099511627777000'"
    ):
        read_trace(path, "arrival_ms=ts,input_length=prompt")


def test_a_field_that_is_there_twice_is_told_not_chosen(tmp_path):
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


@pytest.mark.parametrize(
    ("header", "stamp", "hint"),
    [
        ("arrival_s", "1700000000000", " (milliseconds? --format arrival_ms=arrival_s,input_length=FIELD)"),
        ("Timestamp", "1.7e12", " (milliseconds? --format arrival_ms=Timestamp,input_length=FIELD)"),
        (
            "arrival_s",
            "1700000000000000",
            " (microseconds or nanoseconds? Divide them first)",
        ),
        (
            "arrival_s",
            "1700000000000000000",
            " (microseconds or nanoseconds? Divide them first)",
        ),
        ("arrival_s", "inf", ""),
        ("arrival_s", "-1700000000000", ""),
        ("arrival_s", "soon", ""),
    ],
)
def test_epochs_in_finer_units_are_refused_with_how_they_are_read(tmp_path, header, stamp, hint):
    fields = {
        "arrival_s": "arrival_s,input_length",
        "Timestamp": "Timestamp,Request tokens,Response tokens,Total tokens",
    }
    values = {"arrival_s": f"{stamp},5", "Timestamp": f"{stamp},5,1,6"}
    (tmp_path / "t.csv").write_text(f"{fields[header]}\n{values[header]}\n")
    with pytest.raises(InputError) as error:
        read_trace(tmp_path / "t.csv")
    text = f"t.csv: line 2: {header} must be a finite number of seconds from 0 to 2**40{hint}, got {stamp!r}"
    assert str(error.value).endswith(text)


def test_an_epoch_in_milliseconds_is_read_as_its_message_says(tmp_path):
    (tmp_path / "t.csv").write_text("arrival_s,input_length\n1700000000000,5\n1700000000250,5\n")
    trace = read_trace(tmp_path / "t.csv", "arrival_ms=arrival_s,input_length=input_length")
    assert trace.arrival_s.tolist() == [0.0, 0.25]
    (tmp_path / "t.jsonl").write_text('{"arrival_ms": 1700000000000000000, "input_length": 5}\n')
    with pytest.raises(InputError, match=r"milliseconds from 0 to 1000 \* 2\*\*40 \(microseconds or nanoseconds\? "):
        read_trace(tmp_path / "t.jsonl", "arrival_ms=arrival_ms,input_length=input_length")
