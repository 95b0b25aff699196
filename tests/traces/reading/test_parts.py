"""Parts of a file agree with each other."""

import json

import pytest

from flowsim.errors import InputError
from flowsim.traces import read_trace
from support.traces import written


def test_class_numbers_agree_across_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("flowsim.traces.reading.reader.ROWS_AT_ONCE", 2)
    rows = (json.dumps({"arrival_s": i, "input_length": 1, "class": c}) for i, c in enumerate("abcacbd"))
    trace = read_trace(written(tmp_path, "\n".join(rows)))
    assert trace.class_names == ("a", "b", "c", "d")
    assert trace.class_code.tolist() == [0, 1, 2, 0, 2, 1, 3]


def test_blocks_must_be_of_one_size(tmp_path):
    row = {"arrival_s": 0, "input_length": 5, "hash_ids": [1]}
    path = tmp_path / "t.jsonl"
    for sizes in ([None], [16, 32]):
        path.write_text("\n".join(json.dumps(row | ({"block_tokens": size} if size else {})) for size in sizes))
        with pytest.raises(InputError, match=r"block_tokens: is .*; expected one size >= 1"):
            read_trace(path)
