"""A folder to run in."""

from __future__ import annotations

from pathlib import Path

import pytest

import flowsim


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a trace in it."""
    flowsim.traces.write_trace(flowsim.example_trace().head(40), tmp_path / "trace.jsonl")
    monkeypatch.chdir(tmp_path)
    return tmp_path
