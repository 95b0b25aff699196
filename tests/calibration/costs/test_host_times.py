"""What a host usually takes, on a quiet one and on one that others use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flowsim.calibration.costs.host_times import proceed_of_h200, shorth, undisturbed, usual_of
from flowsim.calibration.costs.provenance import Provenance
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_rows import OperatorRow


@pytest.mark.parametrize(
    ("values", "usual"),
    [
        ([7.0], 7.0),
        ([3.0, 1.0], 2.0),
        ([9.0, 1.0, 2.0], 1.5),
        ([1.0, 5.0, 5.2, 5.4, 9.0], 5.2),
        ([14.0, 22.0, 15.0, 23.0, 13.0, 24.0, 14.5], 14.25),  # busy with something else for three of seven
        ([14.0, 22.0, 15.0, 23.0, 13.0, 24.0, 22.5], 22.75),  # for four
    ],
)
def test_what_is_usual_is_where_most_values_are(values: list[float], usual: float) -> None:
    assert shorth(values) == usual


@pytest.mark.parametrize(
    ("values", "own_pace"),
    [
        ([7.0], 7.0),
        ([3.0, 1.0], 1.0),
        ([4.0, 5.0], 4.5),
        ([14.0, 22.0, 15.0, 23.0, 13.0, 24.0, 22.5], 14.0),  # up to 16.6, for 13.3 is quietest
    ],
)
def test_a_host_s_own_pace_is_that_of_its_quiet_times(values: list[float], own_pace: float) -> None:
    assert undisturbed(values) == own_pace


STOPS = json.loads((Path(__file__).parents[2] / "data" / "stops" / "h200-llama3-8b.json").read_text())
"""Stops of the real runner at cuts where the policy wakes, until the same pass ran on, or (`switched`) another."""


@pytest.mark.parametrize("stops", [*STOPS["any_cut"], *STOPS["calibrated_elsewhere"]], ids=lambda of: str(of["tokens"]))
def test_a_pass_proceeds_within_a_tenth_of_what_the_real_runner_took(stops: dict[str, Any]) -> None:
    assert proceed_of_h200(stops["tokens"]) * 1e6 == pytest.approx(stops["p50_us"], rel=0.13)


def test_another_pass_takes_what_hand_overs_take_elsewhere() -> None:
    usual_us = sum(STOPS["usual_us"].values())
    for of in STOPS["loaded"]:
        assert of["switched"]["p50_us"] == pytest.approx(usual_us, rel=0.1)
        assert of["proceeded"]["p50_us"] < usual_us / 2


def table(layer_us: list[float], more: tuple[OperatorRow, ...] = ()) -> OperatorTable:
    """Of a layer of two operators, each launched in half of these times, at as many sizes."""
    rows = [
        OperatorRow(name, tokens, 0, 1.0, 1.0, 1.0, us / 2, 1, "torch")
        for name in ("qkv_proj", "o_proj")
        for tokens, us in enumerate(layer_us, 1)
    ]
    return OperatorTable(Provenance.of({}), (*rows, *more))


QUIET, BUSY = [100.0, 101.0, 102.0, 103.0, 200.0, 210.0], [100.0, 103.0, 200.0, 205.0, 210.0, 215.0]


def test_on_a_host_that_was_busy_for_most_of_a_table_quiet_times_count() -> None:
    assert usual_of(table(QUIET)) is shorth
    assert usual_of(table(BUSY)) is undisturbed
    assert usual_of(OperatorTable(Provenance.of({}), ())) is shorth


def test_whether_it_was_busy_is_told_by_whole_layers() -> None:
    """Neither by what is launched once a pass, nor on context, nor at sizes of some operators alone."""
    apart = tuple(
        OperatorRow(name, tokens, context, 1.0, 1.0, 1.0, us, 1, "torch")
        for name, first, context in (("embed", 1, 0), ("graph_prepare", 1, 0), ("attention", 1, 16), ("o_proj", 50, 0))
        for tokens, us in enumerate([1.0, *BUSY, *BUSY], first)
    )
    assert usual_of(table(QUIET, apart)) is shorth
