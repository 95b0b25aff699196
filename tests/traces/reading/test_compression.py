"""Plain, gzip and zstd text: what is damaged, cut off or no file is told in one line."""

import gzip
import json
import os
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsim.errors import InputError
from flowsim.traces import Trace, read_trace, write_trace
from flowsim.traces.reading import compression
from support.traces import OWN, bad_own, written


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
    monkeypatch.setattr("flowsim.traces.reading.compression.BLOCK_BYTES", 50_000)
    monkeypatch.setattr("flowsim.traces.reading.reader.ROWS_AT_ONCE", 1000)
    with pytest.raises(InputError, match=r"line 5001: input_length must be .*, got 0"):
        read_trace(written(tmp_path, OWN * 5000 + bad_own(input_length=0).splitlines()[1]))


@pytest.mark.parametrize("compress", [gzip.compress, lambda text: pa.compress(text, "zstd", asbytes=True)])
def test_where_a_file_is_cut_off(tmp_path, compress):
    rng = np.random.default_rng(0)
    rows = [json.dumps({"arrival_s": i, "input_length": int(n)}) for i, n in enumerate(rng.integers(1, 2**40, 50_000))]
    with pytest.raises(InputError, match="data damaged or cut off after line") as error:
        read_trace(written(tmp_path, compress("\n".join(rows).encode())[:-1000]))
    assert int(re.search(r"after line (\d+)", str(error.value))[1]) == pytest.approx(49_000, abs=1000)


@pytest.mark.filterwarnings("ignore::flowsim.errors.InputWarning")
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


def test_cut_zstd_is_told(tmp_path):
    path = tmp_path / "t.jsonl.zst"
    write_trace(Trace.of(np.arange(5000.0), np.arange(1, 5001)), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="zstd data damaged or cut off after line"):
        read_trace(path)


def test_a_bomb_is_given_up_early(tmp_path, monkeypatch):
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n" * (3 << 20)))
    with pytest.raises(InputError, match=r"has no requests|is empty"):
        read_trace(path)
    monkeypatch.setattr(compression, "MOST_TIMES", 2)
    with pytest.raises(InputError, match=r"t\.jsonl\.gz: unpacks to more than 131,072 bytes"):
        list(compression.read_lines(path))
