"""Evidence compared anew, of one folder or of several, on one page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import Result

import flowsim
from flowsim.validation.evidence import Evidence
from support.validation import command, files, invoke

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("hurried")


def test_evidence_is_compared_anew_without_running(
    evidence: tuple[Evidence, Result], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowsim.validation.gpu_runs.replay_on_device", None)
    again = invoke(["validate", "evidence"])
    assert again.exit_code == 0, again.output
    assert again.stdout == evidence[1].stdout
    before = Path("evidence", "evidence.json").read_bytes()
    monkeypatch.setattr(flowsim, "__version__", "9.9")
    same = invoke(command("evidence"))  # all has been run
    assert same.exit_code == 0, same.output
    assert Path("evidence", "evidence.json").read_bytes() == before  # of the runs, not of today


def test_accepted_evidence_holds_later_simulations_to_that_of_today(
    evidence: tuple[Evidence, Result], here: Path
) -> None:
    shutil.copytree("evidence", "accepted")
    (path, *_) = sorted(Path("accepted", "runs").glob("*.json"))
    recorded = json.loads(path.read_text())
    kept = recorded["distances"]
    path.write_text(json.dumps(recorded | {"distances": {}}))
    assert invoke(["validate", "accepted"]).exit_code == 0
    assert json.loads(path.read_text())["distances"] == {}
    assert invoke(["validate", "accepted", "--accept"]).exit_code == 0
    assert json.loads(path.read_text())["distances"] == kept
    refused = invoke(["validate", "trace.jsonl", "--accept"])
    assert refused.exit_code == 2
    assert "--accept: given with a trace; expected folders of evidence" in refused.stderr


def test_several_folders_make_one_page(evidence: tuple[Evidence, Result], here: Path) -> None:
    shutil.copytree("evidence", "other")
    about = json.loads(Path("other", "evidence.json").read_text())
    about["trace"]["name"], about["cases"] = "elsewhere", about["cases"][:1]
    Path("other", "evidence.json").write_text(json.dumps(about))
    result = invoke(["validate", "evidence", "other", "--out", "both"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line for line in lines if line.startswith("folder   ")] == ["folder   1: evidence", "folder   2: other"]
    first = [
        word
        for word in (line.partition(" ")[0] for line in lines)
        if word in ("trace", "policy", "fcfs", "flowprefill")
    ]
    assert first == ["trace", "policy", "fcfs", "flowprefill", "trace", "policy", "fcfs"]
    assert "measures of 3 cases pass" in result.stdout
    assert [path.name.partition("-")[0] for path in sorted(Path("both", "figures").iterdir())] == ["1", "1", "2"]
    page = Path("both", "validation.html").read_text()
    assert page.count("data:image/png") == 3
    assert page.count("(folder 2)</h2>") == 1


def test_the_page_of_one_folder_goes_where_it_is_asked_for(evidence: tuple[Evidence, Result], here: Path) -> None:
    before = (here / "evidence" / "validation.html").stat().st_mtime_ns
    result = invoke(["validate", "evidence", "--out", "page", "--quiet"])
    assert result.exit_code == 0, result.output
    figures = {f"figures/{of.case.slug}.png" for of in evidence[0].recorded}
    assert files(here / "page") == figures | {"validation.html"}
    assert (here / "evidence" / "validation.html").stat().st_mtime_ns == before
    assert invoke(["validate", "evidence", "--out", "./evidence", "-q"]).exit_code == 0
    assert (here / "evidence" / "validation.html").stat().st_mtime_ns > before


def test_evidence_without_runs_and_runs_that_are_missing_are_said(
    evidence: tuple[Evidence, Result], here: Path
) -> None:
    shutil.copytree("evidence", "holes")
    first, second = (of.case.slug for of in evidence[0].recorded)
    Path("holes", "runs", f"{first}.json").unlink()
    part = invoke(["validate", "holes"])
    assert part.exit_code == 0, part.output
    assert part.stderr == f"holes: lacks runs/{first}.json, so this case is left out\n"
    assert "measures of 1 case" in part.stdout
    Path("holes", "runs", f"{second}.json").unlink()
    none = invoke(["validate", "evidence", "holes"])
    assert none.exit_code == 2
    assert none.stderr == ("flowsim: error: holes: holds no run; expected flowsim validate TRACE --out holes first\n")


def test_a_case_without_a_run_is_said(evidence: tuple[Evidence, Result], here: Path) -> None:
    shutil.copytree("evidence", "runless")
    path = Path("runless", "runs", f"{evidence[0].recorded[0].case.slug}.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"runs": []}))
    result = invoke(["validate", "runless"])
    assert result.exit_code == 0
    assert f"runless: runs/{path.name} holds no run, so this case is left out" in result.stderr
    assert "measures of 1 case pass" in result.stdout
