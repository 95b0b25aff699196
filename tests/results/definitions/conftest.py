"""A run whose files have every column."""

from __future__ import annotations

import pytest

import flowsim


@pytest.fixture(scope="session")
def result(tmp_path_factory: pytest.TempPathFactory) -> flowsim.RunResult:
    """Of a run with a prefix cache, priorities and clients, each of which adds a column."""
    row = '{"arrival_s": %d, "input_length": 1024, "hash_ids": [1, %d], "block_tokens": 512, "priority": 1, "client": '
    row += '"a"}'
    path = tmp_path_factory.mktemp("trace") / "blocks.jsonl"
    path.write_text("".join(f"{row % (9 * place, place % 3 + 2)}\n" for place in range(9)))
    return flowsim.run(path, "fcfs", prefix_cache="ideal")
