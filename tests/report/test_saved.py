"""Saved results that were altered or damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.cli import done, refused

HEAVY = ("example", "--rate-scale", "8", "--limit", "120")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("how", [[], ["--json"], ["--html", "page.html"], ["--timeline", "timeline.json"]])
def test_a_run_that_was_altered_is_not_shown(how: list[str]) -> None:
    done("run", *HEAVY, "--out", "saved", "--quiet")
    summary, table = Path("saved/summary.json"), Path("saved/requests.parquet")
    written = summary.read_text()
    summary.write_text(json.dumps({**json.loads(written), "attainment": 0.5}))
    said = refused("show", "saved", *how)
    assert said.startswith("saved/requests.parquet: has attainment 1.0; expected 0.5, as in summary.json")
    summary.write_text(written)
    table.write_bytes(table.read_bytes()[:500])
    assert "saved/requests.parquet: cannot be read (" in refused("show", "saved", *how)
    assert not Path("page.html").exists() and not Path("timeline.json").exists()


def test_a_comparison_that_was_altered_is_not_shown() -> None:
    done("compare", *HEAVY, "--policy", "fcfs", "--policy", "edf", "--out", "saved", "--quiet")
    summary = Path("saved/edf/summary.json")
    summary.write_text(json.dumps({**json.loads(summary.read_text()), "finished": 3}))
    assert "saved/edf/requests.parquet: has finished 120; expected 3, as in summary.json" in refused("show", "saved")


def test_a_damaged_table_is_refused() -> None:
    done("compare", *HEAVY, "--policy", "fcfs", "--policy", "edf", "--quiet", "--out", "saved")
    Path("saved/edf/requests.parquet").write_bytes(b"no")
    assert refused("show", "saved").startswith("saved/edf/requests.parquet: cannot be read")
    assert refused("show", "saved", "--json").startswith("saved/edf/requests.parquet: cannot be read")
