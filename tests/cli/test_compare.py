"""`flowsim compare`: a figure, a table, and a folder for each policy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import flowsim
from support.cli import FILES, ROWS, done, invoke, shell, tree, write

pytestmark = pytest.mark.usefixtures("folder")


def test_a_comparison_leaves_a_figure_a_table_and_the_results_of_each() -> None:
    text = done("compare", "t.jsonl", "--policy", "fcfs", "--policy", "chunked:128", "--out", "results")
    assert set(tree()) - {"t.jsonl", "own_policies.py"} == {
        "results/comparison.csv",
        "results/comparison.png",
        *(f"results/{policy}/{name}" for policy in ("fcfs", "chunked-128") for name in FILES),
    }
    assert "saved comparison.png, comparison.csv and a folder for each policy in results" in text
    done("run", "results/chunked-128/config.yaml", "--out", "again")
    for name in FILES:
        assert Path("results/chunked-128", name).read_bytes() == Path("again", name).read_bytes(), name


def test_two_processes_leave_the_same_bytes() -> None:
    flowsim.traces.write_trace(flowsim.example_trace().head(60), "trace.jsonl")
    said = []
    for seed in ("1", "2"):
        before = tree()
        command = ("compare", "trace.jsonl", "--rate-scale", "4", "--predictor", "noisy:0.2", "--out", f"out{seed}")
        result = shell(*command, PYTHONHASHSEED=seed)
        assert (result.returncode, result.stderr) == (0, "")
        said.append(result.stdout.replace(f"out{seed}", "out"))
        assert len(tree()) == len(before) + 11
    assert said[0] == said[1]
    first, second = ({p.removeprefix(f"out{i}/"): b for p, b in tree().items() if f"out{i}/" in p} for i in "12")
    assert first == second


def test_names_that_look_like_markup_are_shown_as_they_are() -> None:
    write("m[1].jsonl", ROWS[0] | {"class": "[red]x"}, ROWS[1] | {"class": "[/b]"}, ROWS[2] | {"class": "$x$ :+1:"})
    text = done("compare", "m[1].jsonl", "--slo", "0.5", "--out", "results")
    assert all(name in text for name in ("m[1].jsonl", "[red]x", "[/b]", "$x$ :+1:"))


def test_a_run_in_which_nothing_finishes_still_reports() -> None:
    text = done("compare", "t.jsonl", "--kv-tokens", "16", "--policy", "fcfs", "--policy", "edf", "--out", "results")
    assert text.count("0.0 %") >= 2
    done("run", "t.jsonl", "--until", "1e-9", "--out", "cut")
    summary = json.loads(Path("cut/summary.json").read_text())
    assert (summary["unfinished"], summary["undecided"], summary["goodput_rps"]) == (1, 1, None)


def test_long_names_and_letters_that_no_font_has_leave_a_figure_and_one_warning() -> None:
    """Classes in Chinese, and two of 80 letters that differ in the last."""
    names = ["\u6f22\u5b57\u306e\u7a2e\u985e", *("ab" * 39 + end for end in ("xx", "yy"))]
    rows = [{"arrival_s": at, "input_length": 900, "class": name} for at, name in enumerate(names)]
    Path("long.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    command = ("compare", "long.jsonl", "--slo", "1", "--policy", "fcfs", "--policy", "edf", "--out", "out", "-q")
    done = invoke(*command)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == (
        "flowsim: warning: names have letters that no font of the figure has, and are drawn as boxes\n"
    )
    assert Path("out/comparison.png").stat().st_size > 10_000
