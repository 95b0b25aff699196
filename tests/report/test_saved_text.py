"""Saved results as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from support.cli import done
from support.places import DATA

HEAVY = ("example", "--rate-scale", "8", "--limit", "120")
STUDY = "run: {trace: example, workload.limit: 20}\naxes: {policy: [fcfs, edf], workload.rate_scale: [4, 8]}\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_json_is_the_summary() -> None:
    done("run", *HEAVY, "--quiet", "--out", "saved")
    assert json.loads(done("show", "saved", "--json")) == json.loads(Path("saved/summary.json").read_text())


def test_json_of_a_comparison_has_the_policies() -> None:
    done("compare", *HEAVY, "--policy", "fcfs", "--policy", "edf", "--quiet", "--out", "saved")
    shown = json.loads(done("show", "saved", "--json"))
    assert {name: of["policy"] for name, of in shown.items()} == {"fcfs": "fcfs", "edf": "edf"}


def test_json_of_a_study_has_the_rows() -> None:
    Path("study.yaml").write_text(STUDY)
    done("sweep", "study.yaml", "--out", "saved", "--quiet", "--workers", "1")
    rows = json.loads(done("show", "saved", "--json"))["runs"]
    table = pd.read_parquet("saved/runs.parquet")
    assert [row["key"] for row in rows] == table["key"].tolist()
    assert [row["attainment"] for row in rows] == table["attainment"].tolist()


def test_json_of_a_validation_has_the_distances() -> None:
    (first, *_) = json.loads(done("show", str(DATA / "evidence" / "h200-qwen2.5-14b-azure-90"), "--json"))
    assert (first["policy"], first["at"]) == ("fcfs:8192", "90 %")
    assert len(first["distances"]["attainment"]["real"]) == 2
