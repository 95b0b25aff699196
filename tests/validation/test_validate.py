"""`flowsim validate` from end to end on the CPU, and the evidence it leaves."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

import flowsim
from flowsim.validation.compared import compared_cases
from flowsim.validation.evidence import Evidence
from support.costs import GRID
from support.validation import check_timeline, command, files, invoke

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("hurried")


TABLE = ("operators.csv", "passes.csv", "provenance.yaml")


def test_a_validation_leaves_evidence_figures_and_a_page(evidence: tuple[Evidence, Result], folder: Path) -> None:
    slugs = [of.case.slug for of in evidence[0].recorded]
    assert [slug.partition("-")[0] for slug in slugs] == ["fcfs", "flowprefill"]
    runs = {f"runs/{slug}.json" for slug in slugs} | {f"figures/{slug}.png" for slug in slugs}
    runs |= {f"runs/{slug}.events-{number}.jsonl.gz" for slug in slugs for number in (1, 2)}
    table = {f"table/{name}" for name in TABLE}
    assert files(folder / "evidence") == runs | table | {"evidence.json", "validation.html"}
    assert "per request" in evidence[1].output
    assert "measures of 2 cases pass" in evidence[1].output
    page = (folder / "evidence" / "validation.html").read_text()
    assert page.count("data:image/png") == 2
    assert page.count('class="drawn"') == 2  # real passes under simulated ones
    assert not re.search(r"(?:src|href|url)\W{1,2}(?:https?:)?//", page)  # it loads nothing


def test_the_evidence_says_where_it_comes_from(evidence: tuple[Evidence, Result], folder: Path) -> None:
    about = evidence[0].about
    assert about.machine.gpu_name == "CPU"
    assert about.table.sha256 == evidence[0].table.digest()
    assert about.trace.sha256 == flowsim.load_trace(folder / "trace.jsonl").sha256
    assert about.options["model"].endswith("tiny.yaml")
    assert str(folder) not in (folder / "evidence" / "evidence.json").read_text()


def test_all_cases_are_run_once_before_any_is_run_again(evidence: tuple[Evidence, Result]) -> None:
    said = re.findall(r"run (\d) of 2: ([^,]*),", evidence[1].stderr)
    assert said == [("1", "fcfs"), ("1", "flowprefill"), ("2", "fcfs"), ("2", "flowprefill")]


def test_every_request_was_executed_in_both_runs(evidence: tuple[Evidence, Result]) -> None:
    for of in compared_cases(evidence[0]):
        assert len(of.real) == 2
        for run in of.real:
            assert run.summary["finished"] == len(of.case.arrival_s)
            assert np.isfinite(run.ttft_s).all()
        assert {name: d.off for name, d in of.distances.items()} == {
            name: d.off for name, d in of.recorded.distances.items()
        }


def test_real_runs_show_their_passes_under_the_simulated_ones(
    evidence: tuple[Evidence, Result], folder: Path, tmp_path: Path
) -> None:
    check_timeline(folder / "evidence", tmp_path)


def test_more_policies_and_loads_are_added(
    evidence: tuple[Evidence, Result], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = invoke(command("more", "--repeats", "1"))
    assert result.exit_code == 0, result.output
    arguments = command("more", "--repeats", "1")
    arguments[arguments.index("fcfs")] = "edf:cut=layer"
    added = invoke(arguments)
    assert added.exit_code == 0, added.output
    assert added.stderr.count("run 1 of 1") == 1
    assert len(Evidence.load("more").recorded) == 3


def test_without_a_table_the_device_is_measured_first(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowsim.validation.validation_table.QUICK", GRID)
    arguments = [a for a in command("measured", "--quick", "--repeats", "1") if a not in ("--cost", "table")]
    result = invoke(arguments)
    assert result.exit_code == 0, result.output
    notes = Evidence.load("measured").table.provenance.notes
    assert "kernels: split not used: left out" in notes
    assert not Path("measured.journal").exists()
