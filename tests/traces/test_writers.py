"""Writers and readers together: nothing is lost but what a format cannot hold, and the fast reader agrees."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsim.cli.main import main
from flowsim.errors import InputError
from flowsim.traces import FORMATS, Blocks, Chats, Trace, convert, find_format, read_trace, readers, write_trace
from flowsim.traces import bulk_reader as fast

COLUMNS = ("arrival_s", "input_length", "output_length")
MS = st.integers(0, 10**7)
ROW = st.tuples(
    MS,
    st.integers(1, 2**40),
    st.integers(0, 2**40),
    st.sampled_from([None, "text", 'ï "q",\r\n']),
    st.lists(st.integers(0, 2**63 - 1), max_size=3),
    st.tuples(*[st.integers(-1, 2**63 - 1)] * 3),
)


@st.composite
def traces(draw):
    rows = sorted(draw(st.lists(ROW, min_size=1, max_size=20)), key=lambda row: row[0])
    ms, inputs, outputs, classes, ids, chats = zip(*rows, strict=True)
    trace = Trace.of(np.array(ms) / 1000 - ms[0] / 1000, inputs, outputs, classes)
    counts = np.array([len(some) for some in ids])
    blocks = Blocks.of(512, np.array([id for some in ids for id in some], dtype=np.int64), counts)
    known = counts.any()
    chats = Chats(*np.array(chats, dtype=np.int64).T.copy())
    return trace.derived("made", blocks=blocks if known else None, chats=chats if (chats.turn >= 0).any() else None)


def same_blocks(one, other):
    if one is None or other is None:
        return one is other
    return one.tokens == other.tokens and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("ids", "offsets")
    )


def classes(trace):
    return [(*trace.class_names, None)[code] for code in trace.class_code]


@settings(max_examples=40, deadline=None)
@given(traces(), st.sampled_from(["t.jsonl", "t.csv", "t.parquet", "t.jsonl.gz", "t.csv.zst"]))
def test_flowsims_own_format_loses_nothing(tmp_path_factory, trace, name):
    path = tmp_path_factory.mktemp("own") / name
    assert trace.write(path) == ()
    again = read_trace(path)
    assert all(np.array_equal(getattr(trace, column), getattr(again, column)) for column in COLUMNS)
    assert classes(again) == classes(trace)
    assert same_blocks(trace.blocks, again.blocks)
    assert (trace.chats is None) == (again.chats is None)
    if trace.chats is not None:
        assert all(np.array_equal(getattr(trace.chats, k), getattr(again.chats, k)) for k in vars(trace.chats))


@settings(max_examples=40, deadline=None)
@given(traces(), st.sampled_from(sorted(FORMATS)))
def test_a_published_format_loses_only_what_it_says(tmp_path_factory, trace, name):
    path = tmp_path_factory.mktemp("published") / f"t.{FORMATS[name].layout}"
    lost = " ".join(trace.write(path, name))
    again = read_trace(path, spread=False)
    assert np.abs(again.arrival_s - trace.arrival_s).max() < 1e-9
    assert all(np.array_equal(getattr(trace, column), getattr(again, column)) for column in COLUMNS[1:])
    assert classes(again) == classes(trace) or "classes (" in lost
    assert same_blocks(again.blocks, trace.blocks) or "prefix block" in lost
    assert (again.chats is None) == (trace.chats is None) or "conversations" in lost


@pytest.mark.parametrize(("format", "requests_a_time"), [("flowsim", 1), ("qwen", 1), ("vidur", 1), ("mooncake", 10)])
def test_what_is_converted_replays_as_its_source_does(tmp_path, format, requests_a_time):
    """Only Mooncake's own reader takes time stamps for ticks."""
    row = '{{"timestamp": {}, "input_length": 5, "output_length": 1, "hash_ids": [0]}}\n'
    source, target = tmp_path / "source.jsonl", tmp_path / f"t.{FORMATS[format].layout}"
    source.write_text("".join(row.format(tick * 3000) for tick in range(20) for _ in range(10)))
    convert(source, target, format)
    assert 200 / np.unique(read_trace(target, spread=False).arrival_s).size == requests_a_time
    assert np.abs(read_trace(target).arrival_s - read_trace(source).arrival_s).max() < 1e-9
    typed = tmp_path / f"typed.{FORMATS[format].layout}"
    done = CliRunner().invoke(main, ["traces", "convert", str(source), "--to", format, "--out", str(typed)])
    assert ("ticks of 3 s" in done.output) == (format != "mooncake")
    assert typed.read_bytes() == target.read_bytes()


def test_blocks_of_another_size_are_left_out(tmp_path):
    """Mooncake's are of 512 tokens, Qwen's of 16: the same ids would be a 32nd of the tokens."""
    source, target = tmp_path / "source.jsonl", tmp_path / "t.jsonl"
    source.write_text('{"timestamp": 0, "input_length": 900, "output_length": 1, "hash_ids": [7, 8]}\n')
    assert convert(source, target, "qwen")[0] == "prefix blocks of 512 tokens (the format's are of 16)"
    assert read_trace(target).blocks is None
    assert convert(source, target, "mooncake") == () and read_trace(target).blocks.ids.tolist() == [7, 8]


@pytest.mark.parametrize(("format", "name"), [("qwen", "t.csv"), ("azure", "t.jsonl.gz"), ("vidur", "t.parquet")])
def test_no_file_says_another_layout_than_it_has(tmp_path, format, name):
    with pytest.raises(InputError, match=rf"its ending says {name.split('.')[1]}; allowed: .* as {format} has it"):
        write_trace(Trace.of([0], [5]), tmp_path / name, format)
    assert not (tmp_path / name).exists()


CELL = st.one_of(
    st.integers(-3, 12),
    st.floats(-1, 20),
    st.sampled_from([None, True, "7", " 7", "", "x", [], [1, 2], [1.5], {}, 2**63, 1e300, "2024-05-10 00:00:01+00:00"]),
)
FIELDS = sorted({field for kind in FORMATS.values() for field in (*kind.signature, *(kind.chats or ()), "class")})


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(FORMATS)), st.lists(st.dictionaries(st.sampled_from(FIELDS), CELL), max_size=4))
def test_the_fast_reader_agrees_with_the_careful_one(tmp_path_factory, name, changes):
    kind = FORMATS[name]
    good = {field: 5 for field in (kind.arrival, kind.input_length)} | {field: [1] for field in kind.marks}
    if kind.clock == "date":
        good[kind.arrival] = "2024-05-10 00:00:00.009930+00:00"
    if "type" in kind.marks:
        good["type"] = "a"
    folder = tmp_path_factory.mktemp("agree")
    path = folder / "t.jsonl"
    path.write_text("".join(json.dumps(good | change) + "\n" for change in [{}, *changes]))
    names = list(good)
    csv_path = folder / "t.csv"
    cells = [[(good | change)[field] for field in names] for change in [{}, *changes]]
    csv_path.write_text("\n".join(",".join(str(cell).replace(",", ";") for cell in row) for row in [names, *cells]))
    for place in (path, csv_path):
        outcomes = []
        for part_of in (fast.part_of, lambda *_: None):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(readers, "FAST_FROM", 0)
                patch.setattr(fast, "part_of", part_of)
                try:
                    trace = read_trace(place, name, spread=False)
                    outcomes.append(
                        [getattr(trace, c).tolist() for c in (*COLUMNS, "class_code")] + [trace.class_names]
                    )
                except InputError as error:
                    assert "\n" not in str(error)
                    outcomes.append(str(error))
        assert outcomes[0] == outcomes[1]


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
    assert classes(trace) == ["a", None]


def test_a_bad_row_of_parquet_is_named(tmp_path):
    import pandas as pd

    path = tmp_path / "t.parquet"
    pd.DataFrame({"arrival_s": [0.0, 1.0], "input_length": [1, 0]}).to_parquet(path)
    with pytest.raises(InputError, match=r"t\.parquet, row 2: input_length is 0; allowed: a whole number"):
        read_trace(path)
    pd.DataFrame({"arrival_s": [0.0, 1.0], "input_length": [1, None]}).to_parquet(path)
    with pytest.raises(InputError, match=r"row 2: input_length is (nan|None); allowed"):
        read_trace(path)
    pd.DataFrame({"arrival_s": ["0"], "input_length": [1]}).to_parquet(path)
    with pytest.raises(InputError, match=r"row 1: arrival_s is '0'; allowed"):
        read_trace(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"t\.parquet: Parquet file damaged"):
        read_trace(path)


def test_a_quote_that_is_never_closed_swallows_no_rows(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('Timestamp,Request tokens,Response tokens,Model\n5,7,0,"GPT\n6,8,0,GPT\n')
    with pytest.raises(InputError, match="line 3: not CSV"):
        read_trace(path)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["t.parquet", "t.jsonl.zst", "t.csv.gz", "t.csv"]), st.data())
def test_damaged_files_are_told_or_read(tmp_path_factory, name, data):
    path = tmp_path_factory.mktemp("damaged") / name
    Trace.of([0, 0.5, 1.25], [7, 8, 9], [0, 3, 0], ["a", None, "b"]).write(path)
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
        with pytest.raises(InputError, match=r"block_tokens is .*; allowed: one size above 0"):
            read_trace(path)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("arrival_s=a", "has arrival_s; allowed: one of arrival_s, arrival_ms and arrival_date, and input_length"),
        ("arrival_s=a,arrival_ms=b,input_length=c", "allowed: one of arrival_s, arrival_ms and arrival_date"),
        ("arrival_s=a,input_length=", "input_length is no field"),
        ("arrival_s=a,arrival_s=b,input_length=n", "arrival_s is given twice"),
        ("arival_s=a", "did you mean 'arrival_s'"),
    ],
)
def test_bad_names_of_fields(spec, message):
    with pytest.raises(InputError, match=message):
        find_format(spec)


@pytest.mark.parametrize("name", ["t", "t.txt", "t.parquet.gz"])
def test_a_path_must_say_the_layout(tmp_path, name):
    with pytest.raises(InputError, match=r"its ending says no layout; allowed: \.jsonl or \.csv"):
        write_trace(Trace.of([0], [1]), tmp_path / name)


def test_cut_zstd_is_told(tmp_path):
    path = tmp_path / "t.jsonl.zst"
    Trace.of(np.arange(5000.0), np.arange(1, 5001)).write(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="zstd data damaged or cut off after line"):
        read_trace(path)


def test_dates_come_back(tmp_path):
    head = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    text = head + "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,9\n"
    (tmp_path / "azure.csv").write_text(text)
    trace = read_trace(tmp_path / "azure.csv")
    assert trace.write(tmp_path / "again.csv", "azure") == ()
    assert (tmp_path / "again.csv").read_text() == text
    assert trace.window(1, 5).write(tmp_path / "part.csv", "azure") == ()
    assert (tmp_path / "part.csv").read_text().splitlines()[1:] == text.splitlines()[2:]
    assert trace.write(tmp_path / "t.jsonl") == ("the date of second 0 (2023-11-16T18:15:46.680590000 UTC)",)
    year = Trace.of([0, 31e6, 31e6 + 0.001], [1, 1, 1])
    assert len(year.write(tmp_path / "year.jsonl", "mooncake")) == 0
    assert "arrival times finer than 100 ns" in Trace.of([0, 1e-8], [1, 1]).write(tmp_path / "fine.csv", "azure")
    with pytest.raises(InputError, match=r"t.csv: trace spans 5e\+09 s; allowed: dates until 2099-12-31"):
        Trace.of([0, 5e9], [1, 1]).write(tmp_path / "t.csv", "azure")


def test_fields_that_are_not_read_are_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(",Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n0,5,GPT,7,0,7,API log\n")
    assert read_trace(path).notices == (
        "shifted by 5 s, so that the first arrival is at 0 s",
        "fields that are not read: Model, Total tokens, Log Type",
    )
    named = read_trace(path, "arrival_s=Timestamp,input_length=Request tokens,class=Log Type")
    assert named.class_names == ("API log",)
