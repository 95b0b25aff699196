"""What the screen says of a study."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

import flowsim
from flowsim.studies.study_text import study_report


def _said(runs: flowsim.Runs, against: Sequence[str] = ()) -> str:
    with (console := Console(width=120)).capture() as said:
        console.print(study_report(runs, against))
    return said.get()


def test_the_screen_says_who_is_ahead_and_what_is_meant() -> None:
    axes = {"policy": ["flowprefill", "fcfs"], "seed": list(range(8))}
    study = flowsim.sweep({"run": {"trace": "synthetic:qwen:80", "workload.rate_rps": 25}, "axes": axes}, workers=2)
    said = " ".join(_said(study, ["flowprefill"]).split())
    assert "behind in 8 of 8, p = 0.008" in said
    assert "p by Holm's method for one comparison" in said
    assert "Student's t says how large the mean difference is" in said
    few = flowsim.Runs(study.table[study.table["seed"] < 5])
    assert "5 replications cannot give a p below 0.062: take more" in " ".join(_said(few, ["flowprefill"]).split())


def test_policies_that_made_the_same_decisions_are_named() -> None:
    study = {"run": {"trace": "example", "workload.limit": 40}, "axes": {"policy": ["fcfs", "chunked:100000", "edf"]}}
    said = _said(flowsim.sweep(study, workers=1))
    assert "fcfs and chunked:100000 made the same decisions for every request." in said


def test_a_title_does_not_command_the_terminal() -> None:
    study = {"title": "red \x1b[31m", "run": {"trace": "synthetic:qwen:20"}, "axes": {"policy": ["fcfs"]}}
    with (console := Console(width=120)).capture() as said:
        console.print(study_report(flowsim.sweep(study, workers=1)))
    assert said.get().startswith("red \N{REPLACEMENT CHARACTER}[31m: 1 run")
