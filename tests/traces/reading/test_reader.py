"""The readers: every format, and every bad file said in one line."""

import gzip
import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from flowsim.cli.main import main
from flowsim.errors import InputError, InputWarning
from flowsim.traces import FORMATS, detect_format, read_trace
from support.traces import AZURE as AZURE_2023
from support.traces import MOONCAKE, OWN, QWEN, needs_traces, written

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


def test_unsorted_time_stamps_are_sorted_with_a_notice(tmp_path):
    lines = [json.dumps({"arrival_s": t, "input_length": n}) for t, n in ((3, 1), (1, 2), (2, 3), (1, 4))]
    trace = read_trace(written(tmp_path, "\n".join(lines)))
    assert trace.input_length.tolist() == [2, 4, 3, 1]
    assert trace.arrival_s.tolist() == [0, 0, 1, 2]
    assert trace.notices == (
        "sorted by arrival: 2 requests had an earlier time than the one before",
        "shifted by 1 s, so that the first arrival is at 0 s",
    )


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


def written_as(folder: Path, layout: str, columns: dict) -> Path:
    """A trace of these columns, as CSV, JSON lines or Parquet."""
    path, frame = folder / f"t.{layout}", pd.DataFrame(columns)
    if layout == "csv":
        frame.to_csv(path, index=False)
    elif layout == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    return path


@pytest.mark.parametrize(
    ("field", "meant"),
    [("Class", "class"), ("SLO_s", "slo_s"), ("prioritty", "priority"), ("slo-s", "slo_s"), ("clients", "client")],
)
@pytest.mark.parametrize("layout", ["csv", "jsonl", "parquet"])
def test_a_field_with_nearly_the_name_of_one_that_is_read_is_warned_of_once(tmp_path, field, meant, layout):
    path = written_as(tmp_path, layout, {"arrival_s": [0.0, 1.0], "input_length": [5, 6], field: [1, 2]})
    with pytest.warns(InputWarning) as warned:
        trace = read_trace(path)
    assert [str(one.message) for one in warned] == [f"{path}: field {field!r} is not read; did you mean {meant!r}?"]
    assert trace.notices == (f"fields that are not read: {field}",)
    for command in (["run", str(path), "-q"], ["compare", str(path), "-q"], ["traces", "info", str(path)]):
        said = CliRunner().invoke(main, command)
        assert said.exit_code == 0
        assert said.stderr == f"flowsim: warning: {warned[0].message}\n"


def test_names_unlike_any_field_or_beside_the_field_itself_are_not_warned_of(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("arrival_s,input_length,class,Class,tenant,model\n0,5,a,b,c,d\n1,5,a,b,c,d\n")
    assert read_trace(path).class_names == ("a",)


@pytest.mark.parametrize("layout", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(("named", "field", "meant"), [("class", "teir", "tier"), ("slo_s", "max_ttft", "max ttft")])
def test_a_field_that_the_user_names_and_no_row_has_is_refused(tmp_path, layout, named, field, meant):
    columns = {"When": [0.0, 1.0], "tokens": [5, 6], "tier": ["a", "b"], "max ttft": [1.0, 2.0]}
    path = written_as(tmp_path, layout, columns)
    with pytest.raises(InputError) as error:
        read_trace(path, f"arrival_s=When,input_length=tokens,{named}={field}")
    known = "(known: When, max ttft, tier, tokens)"
    assert str(error.value) == f"{path}: unknown field {field!r}; did you mean {meant!r}? {known}"


def test_a_field_that_the_user_names_may_be_missing_in_the_first_row(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"at": 0, "tokens": 5}\n{"at": 1, "tokens": 6, "tier": "a"}\n')
    assert read_trace(path, "arrival_s=at,input_length=tokens,class=tier").class_code.tolist() == [-1, 0]


def test_milliseconds_since_1970_lose_no_digit(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("ms,tokens\n1700000000000,5\n1700000000123,6\n1700000000457,7\n")
    trace = read_trace(path, "arrival_ms=ms,input_length=tokens")
    assert trace.arrival_s.tolist() == [0.0, 0.123, 0.457]
    assert trace.notices == ("shifted by 1.7e+09 s, so that the first arrival is at 0 s",)


def test_a_suggested_format_can_be_pasted_into_a_shell(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("When (ms),tokens\n1700000000000,5\n")
    with pytest.raises(InputError) as error:
        read_trace(path, "arrival_s=When (ms),input_length=tokens")
    assert "--format 'arrival_ms=When (ms),input_length=FIELD'" in str(error.value)


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


@pytest.mark.parametrize(
    ("text", "format"),
    [
        ("input_length,ttft_s\n100,0.25\n300,0.5\n200,0.125\n", None),
        ("ttft_ms,input_length\n250,100\n500,300\n125,200\n", None),
        ("prompt,ttft\n100,250\n300,500\n200,125\n", "input_length=prompt,ttft_ms=ttft"),
        ('{"input_length": 100, "ttft_s": 0.25}\n{"input_length": 300, "ttft_s": 0.5}\n'
         '{"input_length": 200, "ttft_s": 0.125}\n', None),
    ],
)  # fmt: skip
def test_a_profile_has_no_arrivals(text: str, format: str | None, tmp_path: Path) -> None:
    """Each request was sent when the one before was through."""
    path = tmp_path / "profile"
    path.write_text(text)
    trace = read_trace(path, format)
    assert trace.arrival_s.tolist() == [0.0, 0.25, 0.75]
    assert trace.input_length.tolist() == [100, 300, 200]
    assert trace.ttft_s.tolist() == [0.25, 0.5, 0.125]
    assert trace.concurrency == 1
    assert trace.notices == ("a profile: one request after another, each sent when the one before was through",)


def test_arrivals_in_milliseconds_are_read(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("arrival_ms,input_length,ttft_ms,output_length\n0,100,250,1\n900,300,,1\n2000,200,125,4\n")
    trace = read_trace(path)
    assert trace.arrival_s.tolist() == [0.0, 0.9, 2.0]
    assert trace.ttft_s[[0, 2]].tolist() == [0.25, 0.125]
    assert trace.concurrency is None
    assert trace.notices[0].startswith("kept: 1 request that failed on the real server")
    assert trace.notices[1].startswith("answers of several tokens")
    kept = read_trace(path, drop_failed=True)
    assert kept.input_length.tolist() == [100, 200]
    assert kept.notices[0] == "dropped: 1 request that failed on the real server"


@pytest.mark.parametrize(
    "text",
    [
        "input_length,ttft_ms\n100,250\n200,\n300,500\n",
        "arrival_s,input_length,ttft_s\n0,100,0.25\n0.125,,\n0.25,300,0.5\n",
        '{"input_length":100,"ttft_s":0.25}\n{"input_length":7,"ttft_s":null}\n{"input_length":300,"ttft_s":0.5}\n',
    ],
)
def test_what_a_failed_row_lacks_does_not_matter_if_it_is_dropped(text: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(text)
    trace = read_trace(path, drop_failed=True)
    assert trace.input_length.tolist() == [100, 300]
    assert trace.arrival_s.tolist() == [0.0, 0.25]
    assert "dropped: 1 request that failed on the real server" in trace.notices


def test_milliseconds_beside_arrivals_in_seconds_are_read(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("arrival_s,input_length,ttft_ms\n0,100,250\n")
    assert read_trace(path).ttft_s.tolist() == [0.25]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            "timestamp,input_length,ttft_s",
            "has TTFTs but no field of arrivals, unless 'timestamp' is one; expected --format",
        ),
        ("arrival_ms,arrival_date,input_length", "expected one of arrival_s, arrival_ms and arrival_date"),
    ],
)
def test_arrivals_are_not_left_unread(header: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(f"{header}\n1,5,7\n")
    with pytest.raises(InputError, match=said):
        read_trace(path)


def test_of_a_profile_the_last_tokens_count(tmp_path: Path) -> None:
    path = tmp_path / "profile.csv"
    path.write_text("n,first,last\n100,0.25,1\n300,0.5,2\n200,0.125,3\n")
    trace = read_trace(path, "input_length=n,ttft_s=first,latency_s=last")
    assert trace.arrival_s.tolist() == [0.0, 1.0, 3.0]
