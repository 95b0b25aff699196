"""The folder in which commands are typed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.cli import OWN, ROWS, write


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a trace, policies of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    write("t.jsonl", *ROWS)
    Path("own_policies.py").write_text(OWN)
    monkeypatch.delitem(sys.modules, "own_policies", raising=False)
    return tmp_path
