"""Writers and readers together: nothing is lost but what a format cannot hold, and what is written is whole."""

import gzip
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsim.errors import InputError
from flowsim.traces import (
    FORMATS,
    Blocks,
    Chats,
    Trace,
    convert,
    read_trace,
    write_trace,
)

COLUMNS = ("arrival_s", "input_length", "output_length")
OPTIONAL = ("slo_s", "priority", "client_code")
MS = st.integers(0, 10**7)
ROW = st.tuples(
    MS,
    st.integers(1, 2**40),
    st.integers(0, 2**40),
    st.sampled_from([None, "text", 'ï "q",\r\n']),
    st.lists(st.integers(0, 2**63 - 1), max_size=3),
    st.tuples(*[st.integers(-1, 2**63 - 1)] * 3).filter(lambda chat: chat[0] != chat[1] and chat[2] != 1),
    st.none() | st.floats(1e-9, 2**40),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([None, "one", 'zw"ei,']),
)


@st.composite
def traces(draw):
    rows = sorted(draw(st.lists(ROW, min_size=1, max_size=20)), key=lambda row: row[0])
    ms, inputs, outputs, classes, ids, chats, slos, priority, clients = zip(*rows, strict=True)
    # A prompt with blocks is as long as they are, or ends in the last of them.
    inputs = [512 * len(some) - n % 512 if some else n for n, some in zip(inputs, ids, strict=True)]
    optional = {
        "slo_s": np.array(slos, dtype=float) if draw(st.booleans()) else None,
        "priority": priority if draw(st.booleans()) else None,
        "clients": clients if draw(st.booleans()) else None,
    }
    trace = Trace.of(np.array(ms) / 1000 - ms[0] / 1000, inputs, outputs, classes, **optional)
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all the examples of a test."""
    return tmp_path_factory.mktemp("examples")


SMALL = Trace.of([0.0, 1.0, 2.0, 4.0], [100, 200, 300, 400], [1, 0, 3, 4], ["text", "file", None, "text"], name="small")


def test_only_what_is_known_is_written(tmp_path):
    assert write_trace(SMALL.head(3), tmp_path / "t.jsonl") == ()
    assert (tmp_path / "t.jsonl").read_text().splitlines() == [
        '{"arrival_s": 0.0, "input_length": 100, "output_length": 1, "class": "text"}',
        '{"arrival_s": 1.0, "input_length": 200, "class": "file"}',
        '{"arrival_s": 2.0, "input_length": 300, "output_length": 3}',
    ]


def test_the_same_trace_gives_the_same_compressed_bytes(tmp_path):
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_trace(SMALL, tmp_path / name)
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert len(gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()).splitlines()) == 4


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.parquet", "t.jsonl.gz", "t.csv.zst"])
def test_a_file_is_written_whole_or_not_at_all(tmp_path, name):
    resource = pytest.importorskip("resource", reason="this system cannot limit the size of a file")
    target = tmp_path / name
    target.write_text("before")
    trace = Trace.of(np.arange(9999.0), np.random.default_rng(0).integers(1, 2**40, 9999))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(InputError) as error:
            write_trace(trace, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert re.fullmatch(rf"{re.escape(str(target))}: cannot be written \(.*File too large\)", str(error.value))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert target.read_text() == "before"


def test_a_file_that_cannot_be_opened(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "no" / "t.jsonl", tmp_path / "file" / "t.jsonl"):
        with pytest.raises(InputError, match=r"t\.jsonl: cannot be written \("):
            write_trace(SMALL, place)


@settings(max_examples=40, deadline=None)
@given(traces(), st.floats(0.01, 100), st.sampled_from(["t.jsonl", "t.csv", "t.parquet", "t.jsonl.gz", "t.csv.zst"]))
def test_flowsims_own_format_loses_nothing(folder, trace, factor, name):
    trace, path = trace.scaled(factor), folder / name
    assert write_trace(trace, path) == ()
    again = read_trace(path)
    assert again.notices in ((), ("all requests arrive at one instant",))
    assert again.client_names == trace.client_names
    assert all(np.array_equal(getattr(trace, c), getattr(again, c), equal_nan=True) for c in OPTIONAL)
    assert all(np.array_equal(getattr(trace, column), getattr(again, column)) for column in COLUMNS)
    assert classes(again) == classes(trace)
    assert same_blocks(trace.blocks, again.blocks)
    assert (trace.chats is None) == (again.chats is None)
    if trace.chats is not None:
        assert all(np.array_equal(getattr(trace.chats, k), getattr(again.chats, k)) for k in vars(trace.chats))


@settings(max_examples=40, deadline=None)
@given(traces(), st.sampled_from(sorted(FORMATS)))
def test_a_published_format_loses_only_what_it_says(folder, trace, name):
    path = folder / f"t.{FORMATS[name].layout}"
    lost = " ".join(write_trace(trace, path, name))
    again = read_trace(path, spread=False)
    assert np.abs(again.arrival_s - trace.arrival_s).max() < 1e-9
    assert all(np.array_equal(getattr(trace, column), getattr(again, column)) for column in COLUMNS[1:])
    assert classes(again) == classes(trace) or "classes (" in lost
    assert same_blocks(again.blocks, trace.blocks) or "prefix block" in lost
    assert (again.chats is None) == (trace.chats is None) or "conversations" in lost
    said = dict(zip(OPTIONAL, ("the SLOs (slo_s)", "the priorities", "the clients"), strict=True))
    for column, what in said.items():
        same = np.array_equal(getattr(again, column), getattr(trace, column), equal_nan=True)
        assert same != (what in lost)


def test_blocks_of_another_size_are_left_out(tmp_path):
    """Mooncake's are of 512 tokens, Qwen's of 16: the same ids would be a 32nd of the tokens."""
    source, target = tmp_path / "source.jsonl", tmp_path / "t.jsonl"
    source.write_text('{"timestamp": 0, "input_length": 900, "output_length": 1, "hash_ids": [7, 8]}\n')
    assert convert(source, target, "qwen")[0] == "prefix blocks of 512 tokens (the format's are of 16)"
    assert read_trace(target).blocks is None
    assert convert(source, target, "mooncake") == () and read_trace(target).blocks.ids.tolist() == [7, 8]


@pytest.mark.parametrize(("format", "name"), [("qwen", "t.csv"), ("azure", "t.jsonl.gz"), ("vidur", "t.parquet")])
def test_a_path_may_not_name_another_layout(tmp_path, format, name):
    with pytest.raises(
        InputError, match=rf"its ending names {name.split('.')[1]}; expected .*, the layout of {format}"
    ):
        write_trace(Trace.of([0], [5]), tmp_path / name, format)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["t", "t.txt", "t.parquet.gz"])
def test_a_path_must_say_the_layout(tmp_path, name):
    with pytest.raises(InputError, match=r"its ending names no layout; expected \.jsonl or \.csv"):
        write_trace(Trace.of([0], [1]), tmp_path / name)


def test_dates_come_back(tmp_path):
    head = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    text = head + "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,9\n"
    (tmp_path / "azure.csv").write_text(text)
    trace = read_trace(tmp_path / "azure.csv")
    assert write_trace(trace, tmp_path / "again.csv", "azure") == ()
    assert (tmp_path / "again.csv").read_text() == text
    assert write_trace(trace.window(1, 5), tmp_path / "part.csv", "azure") == ()
    assert (tmp_path / "part.csv").read_text().splitlines()[1:] == text.splitlines()[2:]
    assert write_trace(trace, tmp_path / "t.jsonl") == ("the date of second 0 (2023-11-16T18:15:46.680590000 UTC)",)
    year = Trace.of([0, 31e6, 31e6 + 0.001], [1, 1, 1])
    assert len(write_trace(year, tmp_path / "year.jsonl", "mooncake")) == 0
    assert "arrival times finer than 100 ns" in write_trace(Trace.of([0, 1e-8], [1, 1]), tmp_path / "fine.csv", "azure")
    with pytest.raises(InputError, match=r"t.csv: trace spans 5e\+09 s; expected dates until 2099-12-31"):
        write_trace(Trace.of([0, 5e9], [1, 1]), tmp_path / "t.csv", "azure")
