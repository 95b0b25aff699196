"""Intervals over replications: literals, and what may be averaged at all."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from flowsim.errors import InputError
from flowsim.studies.intervals import differences, intervals, ratios


def runs(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame({"workload.window": None, **columns})


TABLE = runs(
    policy=["a", "a", "b", "b", "c", "c"],
    seed=[0, 1, 0, 1, 1, 0],
    goodput_rps=[1.0, 2.0, 4.0, 5.5, 2.0, 1.0],
)


def test_differences_are_taken_seed_by_seed() -> None:
    table = differences(TABLE, "goodput_rps", against="a")
    assert table["policy"].tolist() == ["b", "c"]
    assert table["mean"].tolist() == [3.25, 0.0]
    assert table["high"].tolist() == pytest.approx([3.25 + 12.7062 * 0.25, 0.0], abs=1e-4)
    with pytest.raises(InputError, match="unknown policy 'd' of the study"):
        differences(TABLE, "goodput_rps", against="d")


def test_differences_are_taken_apart_by_other_options() -> None:
    table = pd.concat([TABLE.assign(**{"slo.scale": 1.0}), TABLE.assign(**{"slo.scale": 2.0, "goodput_rps": 3.0})])
    apart = differences(table, "goodput_rps", "a", ["slo.scale"])
    assert apart[["policy", "slo.scale", "mean"]].values.tolist() == [
        ["b", 1.0, 3.25],
        ["c", 1.0, 0.0],
        ["b", 2.0, 0.0],
        ["c", 2.0, 0.0],
    ]


def test_ratios_are_geometric_means_in_the_order_of_the_study() -> None:
    table = pd.concat([TABLE.assign(gpu="z"), TABLE.assign(gpu="a")])
    found = ratios(table, "goodput_rps", "a", ["gpu"])
    assert found[["policy", "gpu"]].values.tolist() == [["b", "z"], ["c", "z"], ["b", "a"], ["c", "a"]]
    assert found["mean"].tolist() == pytest.approx([math.sqrt(4 * 2.75), 1.0] * 2)


def test_shares_stay_between_nothing_and_all() -> None:
    table = runs(policy=["a"] * 3 + ["b"] * 3, seed=[0, 1, 2] * 2, attainment=[1.0, 1.0, 0.97, 0.0, 0.0, 0.05])
    found = intervals(table, "attainment", ["policy"])
    assert found["high"][0] == 1.0 and found["low"][1] == 0.0
    assert differences(table, "attainment", "b")["high"].max() <= 1
    assert intervals(table.assign(goodput_rps=table["attainment"]), "goodput_rps", ["policy"])["low"][1] == 0.0


def test_who_is_ahead_in_how_many_windows() -> None:
    """Student's t of these holds zero, although one policy is ahead in every window."""
    ahead = [0.004, 0.613, 0.009, 0.022, 0.987, 0.331, 0.002, 0.016]
    table = pd.DataFrame(
        {
            "policy": ["flowprefill"] * 8 + ["fcfs"] * 8 + ["edf"] * 8,
            "seed": 0,
            "workload.window": [f"{k}:{k + 1}" for k in range(8)] * 3,
            "attainment": [1.0] * 8 + [1.0 - share for share in ahead] + [1.0] * 8,
        }
    )
    found = differences(table, "attainment", "flowprefill").set_index("policy")
    fcfs, edf = found.loc["fcfs"], found.loc["edf"]
    assert fcfs["low"] < 0 < fcfs["high"]
    assert (fcfs["lower"], fcfs["higher"], fcfs["n"]) == (8, 0, 8)
    assert fcfs["p"] == pytest.approx(2 / 2**8)
    assert fcfs["p_holm"] == pytest.approx(2 * 2 / 2**8)
    assert (edf["lower"], edf["higher"], edf["p_holm"]) == (0, 0, 1.0)


def test_means_are_over_replications_only() -> None:
    means = intervals(TABLE, "goodput_rps", ["policy"])
    assert means[["policy", "mean", "n"]].values.tolist() == [["a", 1.5, 2], ["b", 4.75, 2], ["c", 1.5, 2]]
    mixed = TABLE.assign(**{"slo.scale": [1.0, 2.0] * 3})
    with pytest.raises(InputError, match=r"runs with the same policy: differ in slo\.scale; expected"):
        intervals(mixed, "goodput_rps", ["policy"])
    with pytest.raises(InputError, match="unknown column 'goodput'; did you mean 'goodput_rps'"):
        intervals(TABLE, "goodput", ["policy"])
