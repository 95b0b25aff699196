"""What the screen says of a search, from tables written by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

import flowsim
from flowsim.studies.intervals import differences, intervals, ratios
from flowsim.studies.search_text import search_notes
from flowsim.studies.study_text import study_report

TRACE = {
    "trace": "a.jsonl",
    "workload.window": None,
    "workload.concurrency": None,
    "warmup": 0.1,
    "error": None,
    "target": "0.9",
}


def runs(policy: str, attainment: list[float], sustained: list[float], **columns: Any) -> pd.DataFrame:
    """A run per seed of a search, limited by attainment and by the queue."""
    table = {"policy": policy, "seed": list(range(len(sustained))), **TRACE}
    for rule, rates in (("attainment", attainment), ("sustained", sustained)):
        table |= {f"max_rate_{rule}_rps": rates, f"fails_at_{rule}_rps": [1.01 * rate for rate in rates]}
        table |= {f"dips_at_{rule}_rps": math.nan, f"returns_at_{rule}_rps": math.nan}
    table |= {"limited_by_attainment": "attainment", "limited_by_sustained": "queue"}
    table |= {"counted": 1000, "late": 20, "starved": 1, "utilization": 0.95}
    return pd.DataFrame({**table, **columns})


def said(*tables: pd.DataFrame) -> str:
    with (console := Console(width=200)).capture() as shown:
        console.print(study_report(flowsim.Runs(pd.concat(tables)), ()))
    return shown.get()


def test_the_table_has_both_rules() -> None:
    both = said(runs("fcfs", [10.0, 12.0], [10.0, 12.0]), runs("edf", [30.0, 34.0], [20.0, 21.0]))
    lines = [line.split() for line in both.splitlines() if line.startswith(("policy", "fcfs ", "edf "))]
    head = " ".join(lines[0])
    assert head == "policy runs attainment, req/s limited by sustained, req/s limited by late starved use"
    assert lines[2][:4] == ["edf", "2", "32.00", "[6.59,"]
    assert [row[:2] for row in lines[4:]] == [["edf", "attainment"], ["edf", "sustained"]]
    assert "attainment reaches its target (0.9)" in both


def test_rates_at_which_a_rule_fails_and_holds_again_are_said() -> None:
    first = runs("fcfs", [50.0, 53.4], [20.0, 21.0])
    first["dips_at_attainment_rps"], first["returns_at_attainment_rps"] = [math.nan, 52.63], [math.nan, 53.12]
    second = runs("edf", [50.0], [20.0], dips_at_sustained_rps=18.0, returns_at_sustained_rps=19.5)
    assert list(search_notes(first, [])) == [
        "fcfs: attainment falls below its target at 52.63 req/s and returns at 53.12 (in 1 of 2 runs). "
        "The highest rate counts."
    ]
    assert list(search_notes(second, [])) == [
        "edf: the rate is not sustained at 18 req/s, and again at 19.5. The highest rate counts."
    ]


def test_a_policy_that_leaves_requests_behind_is_named() -> None:
    table = runs("edf", [50.0], [0.0], limited_by_sustained="left behind", utilization=math.nan)
    assert list(search_notes(table, [])) == [
        "edf: some requests are never served, and not rejected either, so the rate is not sustained; "
        "the attainment rule counts them as missed."
    ]


def test_a_trace_too_short_for_its_slos_is_said() -> None:
    table = runs("edf", [1024.0], [20.0], limited_by_attainment="nothing", fails_at_attainment_rps=math.inf)
    assert list(search_notes(table, [])) == [
        "edf: the target was met at every rate tried, up to 1,024 req/s. The trace is too short for such SLOs. "
        "Means, differences and ratios leave such runs out; the sign test takes them as higher than any limited rate."
    ]
    assert "nothing" in said(table) and "> 1024.00" in said(table)


def test_rates_that_nothing_limits_are_left_out_of_means_but_not_of_the_sign_test() -> None:
    limits = ["nothing", "attainment", "attainment"]
    edf = runs("edf", [1024.0, 30.0, 34.0], [20.0] * 3, limited_by_attainment=limits)
    fcfs = runs("fcfs", [10.0, 15.0, 17.0], [10.0] * 3)
    both = pd.concat([fcfs, edf])
    value = "max_rate_attainment_rps"
    assert intervals(both, value, ["policy"])[["mean", "n"]].values.tolist() == [[14.0, 3], [32.0, 2]]
    (pair,) = differences(both, value, "fcfs").to_dict("records")
    assert [pair[name] for name in ("mean", "n", "higher", "lower", "left_out")] == [16.0, 2, 3, 0, 1]
    assert ratios(both, value, "fcfs")["mean"].tolist() == pytest.approx([2.0])
    (back,) = differences(both, value, "edf").to_dict("records")
    assert [back[name] for name in ("mean", "higher", "lower")] == [-16.0, 0, 3]
    shown = said(fcfs, edf)
    assert "32.00 [" in shown and "ahead in 3 of 3" in shown and "(in 1 of 3 runs)" in shown


@pytest.mark.parametrize("n", [1, 3])
def test_policies_that_a_full_device_makes_equal_are_named(n: int) -> None:
    slow = runs("fcfs", [9.0, 10.0, 8.0][:n], [9.0, 10.0, 8.0][:n], utilization=0.5)
    equal = [
        runs("edf", [40.0, 44.0, 42.0][:n], [18.2, 19.4, 17.0][:n]),
        runs("sjf", [30.0, 34.0, 32.0][:n], [18.3, 19.3, 16.8][:n], utilization=0.97),
    ]
    behind = runs("srpt", [30.0, 34.0, 32.0][:n], [16.2, 17.4, 15.0][:n])  # full as well, and 11 % behind
    (line,) = search_notes(pd.concat([slow, *equal, behind]), [])
    assert line.startswith("The sustained rule hardly tells edf and sjf apart: the device is full (95 to 97 % in use).")
    assert not list(search_notes(pd.concat([slow, equal[0], behind]), []))
    apart = runs("srpt", [30.0, 31.0, 30.5], [17.2, 17.21, 17.19])  # 5 % behind, beyond both intervals
    assert not list(search_notes(pd.concat([runs("edf", [40.0, 44.0, 42.0], [18.2, 18.21, 18.19]), apart]), []))


def test_decisions_at_the_highest_rates_are_not_compared() -> None:
    equal = {"decisions_sha256": "a"}
    shown = said(runs("fcfs", [10.0, 12.0], [10.0, 12.0], **equal), runs("edf", [11.0, 13.0], [10.0, 12.0], **equal))
    assert "same decisions" not in shown


def test_notices_about_traces_are_shown_once(tmp_path: Path) -> None:
    notice = "2 prompts are longer than the 40,960 tokens of qwen3-8b's context: rejected"
    table = runs("edf", [40.0, 44.0], [18.2, 19.4], trace_notices=notice)
    assert said(table).count(f"a.jsonl: {notice}") == 1


def test_sweep_and_capacity_say_which_prompts_are_beyond_the_context(tmp_path: Path) -> None:
    lengths = [100] * 39 + [60000]
    flowsim.traces.write_trace(flowsim.Trace.of([float(n) for n in range(40)], lengths), tmp_path / "long.jsonl")
    options: dict[str, Any] = {"model": "qwen3-8b", "slo": 1}
    study = {"run": {"trace": str(tmp_path / "long.jsonl"), "policy": "fcfs", **options}}
    for done in (
        flowsim.sweep(study, workers=1),
        flowsim.capacity(tmp_path / "long.jsonl", ["fcfs"], workers=1, tolerance=0.5, **options),
    ):
        notice = "long.jsonl: 1 prompt is longer than the 40,960 tokens of qwen3-8b's context: rejected"
        with (console := Console(width=200)).capture() as shown:
            console.print(study_report(done))
        assert notice in shown.get()
