"""`flowsim show`: what was printed again, JSON, a timeline; and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from flowsim.cli.main import main
from support.cli import done, refused
from support.places import DATA
from support.trace_format import read

pytestmark = pytest.mark.usefixtures("folder")
HEAVY = ("example", "--rate-scale", "8", "--limit", "120")
STUDY = "run: {trace: example, workload.limit: 20}\naxes: {policy: [fcfs, edf], workload.rate_scale: [4, 8]}\n"


def without_notices(text: str) -> str:
    """What a command printed, without the line that says where it saved the results."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("saved "))


def test_a_run_is_shown_as_it_was_printed() -> None:
    printed = done("run", *HEAVY, "--out", "saved", "--all-metrics")
    assert done("show", "saved", "--all-metrics") == without_notices(printed)
    assert "goodput" not in done("show", "saved", "--quiet")


def test_a_comparison_is_shown_as_it_was_printed() -> None:
    policies = [word for name in ("fcfs", "fcfs:batch_tokens=1", "flowprefill") for word in ("--policy", name)]
    printed = done("compare", *HEAVY, *policies, "--against", "flowprefill", "--out", "saved")
    assert done("show", "saved", "--against", "flowprefill") == without_notices(printed)


def test_policies_that_decide_alike_are_named_again() -> None:
    policies = [word for name in ("edf", "edf:cut=operator") for word in ("--policy", name)]
    printed = done("compare", *HEAVY, *policies, "--out", "saved")
    assert "made the same decisions" in printed
    assert done("show", "saved") == without_notices(printed)


def test_a_study_is_shown_as_it_was_printed() -> None:
    Path("study.yaml").write_text(STUDY)
    done("sweep", "study.yaml", "--out", "saved", "--quiet", "--workers", "1")
    printed = done("sweep", "study.yaml", "--out", "saved", "--workers", "1")
    assert done("show", "saved") == without_notices(printed)


def test_a_validation_is_shown_as_it_was_printed() -> None:
    folder = str(DATA / "evidence" / "h200-qwen2.5-14b-azure-90")
    printed = done("validate", folder, "--out", "page")
    assert done("show", folder) == without_notices(printed)


def test_a_timeline_of_the_worst_requests() -> None:
    done("run", *HEAVY, "--policy", "fcfs", "--quiet", "--out", "saved")
    said = done("show", "saved", "--timeline", "t.json", "--worst", "3")
    assert said == "saved t.json; open it in ui.perfetto.dev or chrome://tracing\n"
    events = read(Path("t.json").read_text())
    assert len({event["id"] for event in events if event["ph"] == "b"}) == 3
    assert done("show", "saved", "--timeline", "u.json", "--window", ":1.5", "--quiet") == ""
    assert max(e["ts"] for e in read(Path("u.json").read_text()) if e["ph"] == "C") <= 1.5e6


def test_a_page_of_each_result() -> None:
    done("run", *HEAVY, "--quiet", "--out", "ran")
    done("compare", *HEAVY, "--policy", "fcfs", "--policy", "edf", "--quiet", "--out", "compared")
    Path("study.yaml").write_text(STUDY)
    done("sweep", "study.yaml", "--out", "study", "--quiet", "--workers", "1")
    titles = {"ran": "flowprefill on example", "compared": "2 policies on example", "study": "Study"}
    for folder, title in titles.items():
        assert done("show", folder, "--html", "page.html") == "saved page.html\n"
        assert f"<h1>{title}</h1>" in Path("page.html").read_text(encoding="utf-8")
    assert done("show", "ran", "--html", "page.html", "--timeline", "t.json", "--quiet") == ""


def test_a_run_that_comes_out_otherwise_has_no_timeline() -> None:
    done("run", *HEAVY, "--quiet", "--out", "saved")
    table = pd.read_parquet("saved/requests.parquet", engine="pyarrow")
    table.assign(finished_s=table["finished_s"] + 1).to_parquet("saved/requests.parquet")
    said = refused("show", "saved", "--timeline", "t.json")
    assert said == (
        "saved: does not come out as it was saved; expected the files and the version that it was made with"
    )
    shutil.rmtree("saved")


def test_a_study_has_no_timeline() -> None:
    Path("study.yaml").write_text(STUDY)
    done("sweep", "study.yaml", "--out", "saved", "--quiet", "--workers", "1")
    said = refused("show", "saved", "--timeline", "t.json")
    assert said == "saved: has the runs of a study; expected a run, a comparison or a validation"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--window", "0:1"), "--window: is given without --timeline; expected both"),
        (("--worst", "2"), "--worst: is given without --timeline; expected both"),
        (("--timeline", "t.json", "--window", "3"), "--window must be A:B, in seconds, got '3'"),
        (("--timeline", "t.json", "--window", "a:b"), "--window must be A:B, in seconds, got 'a:b'"),
        (("--timeline", "t.json", "--window", "2:1"), "--window must be A:B with A < B, in seconds, got '2:1'"),
        (("--timeline", "t.json", "--worst", "0"), "--worst must be >= 1, got 0"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: tuple[str, ...], told: str) -> None:
    done("run", "example", "--limit", "20", "--quiet", "--out", "saved")
    assert refused("show", "saved", *options) == told


def test_a_folder_without_results_is_refused() -> None:
    Path("empty").mkdir()
    expected = "expected what flowsim run, compare, sweep, capacity, arena or validate wrote with --out"
    for name in ("empty", "nowhere", "t.jsonl"):
        assert refused("show", name) == f"{name}: holds no results; {expected}"
    done("run", "example", "--limit", "20", "--quiet", "--out", "compared/fcfs")
    assert refused("show", "compared") == f"compared: holds folders of runs, but no comparison.csv; {expected}"


ODD = "a$x_{b}$\x1b[31m\x07\x9b1m\u202e<b>[red]"
"""A name that a terminal, a formula, HTML and markup would take for something else."""
OBEYED = set("\x1b\x07\x9b\u202e")


def test_names_that_a_terminal_would_obey_are_replaced() -> None:
    """Also where colours are kept, as in a terminal."""
    rows = [{"arrival_s": n, "input_length": 100 + n, "class": ODD, "slo_s": 0.001 * n + 0.001} for n in range(8)]
    Path("odd.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for words in (["run"], ["compare", "--policy", "fcfs", "--policy", "edf"], ["explain"], ["traces", "info"]):
        at = 2 if words[0] == "traces" else 1
        result = CliRunner().invoke(main, [*words[:at], "odd.jsonl", *words[at:]], color=True)
        assert result.exit_code == 0, result.output
        assert not OBEYED & set(result.output), words
    for words in (["run", ODD], ["run", "odd.jsonl", "--policy", ODD], ["run", "odd.jsonl", "--slo", f"{ODD}=0"]):
        result = CliRunner().invoke(main, words, color=True)
        assert result.exit_code == 2
        assert not OBEYED & set(result.output), words
