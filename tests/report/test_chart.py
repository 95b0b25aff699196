"""The numbers of a chart, by hand: means of two replications, classes, differences, figures on both axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flowsim.errors import InputError
from flowsim.report.chart import ChartColumns, PanelChart, chart, said
from flowsim.studies.figure_data import line_chart
from flowsim.studies.sweep import Runs

RATE = "workload.rate_rps"


def row(policy: str, rate: float, seed: int, attainment: float, **more: Any) -> dict[str, Any]:
    figures = {"attainment": attainment, "attainment_text": attainment / 2, "attainment_file": 1.0}
    figures |= {"requests_text": 5, "requests_file": 5, "ttft_p99_s": 2 - attainment, "goodput_rps": rate * attainment}
    return {"policy": policy, RATE: rate, "seed": seed, "workload.window": None, "error": None, **figures, **more}


def study(**more: Any) -> Runs:
    """Two policies at two rates, two seeds each."""
    shares = {("fcfs", 8): (0.8, 0.9), ("fcfs", 16): (0.4, 0.5), ("edf", 8): (1.0, 1.0), ("edf", 16): (0.6, 0.9)}
    rows = [row(policy, rate, i, of, **more) for (policy, rate), both in shares.items() for i, of in enumerate(both)]
    return Runs(pd.DataFrame(rows))


def lines(found: PanelChart) -> dict[str, dict[str, list[float]]]:
    """By panel and line, the means."""
    return {panel.title: {of.name: [round(y, 9) for y in of.mean] for of in panel.lines} for panel in found.panels}


def test_what_varies_is_the_axis_and_the_policy_the_lines() -> None:
    found = chart(study(), ChartColumns())
    assert (found.columns.x, found.columns.hue) == (RATE, "policy")
    assert lines(found) == {"": {"fcfs": [85, 45], "edf": [100, 75]}}
    assert found.ticks == [8, 16] and found.joined and not found.words and found.left_out == ""


def test_intervals_are_students_t_over_replications() -> None:
    made = chart(study(), ChartColumns())
    line = made.panels[0].lines[0]
    assert made.bars == "Bars: 95 %, Student's t over the replications"
    half = 100 * 12.7062047 * math.sqrt(0.005) / math.sqrt(2)  # of 0.8 and 0.9: t(0.975, 1) * s / sqrt(2)
    assert line.low[1] == max(0.0, 45 - half) and line.high[1] == min(100.0, 45 + half)


def test_one_replication_has_the_interval_of_its_own_requests() -> None:
    runs = study(ci_attainment_low=0.3, ci_attainment_high=0.95)
    alone = Runs(runs.table[runs.table["seed"] == 0])
    made = chart(alone, ChartColumns())
    line = made.panels[0].lines[0]
    assert made.bars == "Bars: 95 %, Wilson's at the effective number of requests"
    assert chart(alone, ChartColumns(y="goodput_rps")).bars == ""
    assert (line.low.tolist(), line.high.tolist()) == ([30, 30], [95, 95])


def test_a_facet_makes_panels_and_a_hue_lines() -> None:
    found = chart(study(), ChartColumns(facet="policy", hue=RATE, x="seed"))
    assert lines(found) == {
        "fcfs": {f"{RATE} 8": [80, 90], f"{RATE} 16": [40, 50]},
        "edf": {f"{RATE} 8": [100, 100], f"{RATE} 16": [60, 90]},
    }


def test_each_class_has_a_panel_with_its_own_figure() -> None:
    found = chart(study(), ChartColumns(facet="class"))
    assert lines(found) == {
        "text": {"fcfs": [42.5, 22.5], "edf": [50, 37.5]},
        "file": {"fcfs": [100, 100], "edf": [100, 100]},
    }


def test_words_have_places_in_the_order_of_the_study() -> None:
    found = chart(study(), ChartColumns(x="policy", hue=RATE))
    assert found.words and found.ticks == ["fcfs", "edf"]
    assert lines(found) == {"": {f"{RATE} 8": [85, 100], f"{RATE} 16": [45, 75]}}
    assert found.panels[0].lines[0].x.tolist() == [0, 1]


def test_figures_of_the_runs_may_be_on_both_axes() -> None:
    found = chart(study(), ChartColumns(x="goodput_rps", y="ttft_p99_s"))
    assert not found.joined
    (fcfs, _) = found.panels[0].lines
    np.testing.assert_allclose(fcfs.x, [0.85 * 8, 0.45 * 16])
    np.testing.assert_allclose(fcfs.mean, [1.15, 1.55])


def test_a_share_is_in_per_cent_on_either_axis() -> None:
    (fcfs, _) = chart(study(), ChartColumns(x="attainment", y="goodput_rps")).panels[0].lines
    np.testing.assert_allclose(fcfs.x, [45, 85])
    (fcfs, _) = line_chart(Runs(study().table.drop(columns=RATE)), "attainment", "goodput_rps").lines
    np.testing.assert_allclose(fcfs.x, [80, 90, 40, 50])


def test_only_traces_are_named_by_the_ends_of_their_paths_and_stay_distinct() -> None:
    parts = [study(trace=f"/logs/{day}/log.csv").table for day in ("mon", "tue")]
    found = chart(Runs(pd.concat(parts)), ChartColumns(facet="trace"))
    assert [panel.title for panel in found.panels] == ["mon/log.csv", "tue/log.csv"]
    assert [panel.title for panel in chart(Runs(parts[0]), ChartColumns(facet="trace")).panels] == ["log.csv"]
    table = study().table.rename(columns=lambda name: name.replace("_text", "_eu/chat").replace("_file", "_us/chat"))
    found = chart(Runs(table), ChartColumns(hue="class", facet="policy"))
    assert list(found.names) == ["eu/chat", "us/chat"]


def test_a_difference_is_paired_by_seed() -> None:
    found = chart(study(), ChartColumns(against="fcfs"))
    assert lines(found) == {"": {"edf": [15, 30]}}
    edf = found.panels[0].lines[0]
    assert edf.low[0] < 15 < edf.high[0]  # of 0.2 and 0.1


def test_points_that_are_not_finite_are_left_out_and_named() -> None:
    table = study().table
    table.loc[table[RATE] == 16, "ttft_p99_s"] = math.inf
    found = chart(Runs(table), ChartColumns(y="ttft_p99_s"))
    assert found.ticks == [8]
    assert found.left_out == "Left out, as not finite: fcfs, workload.rate_rps 16; edf, workload.rate_rps 16."
    many = pd.concat([table.assign(**{RATE: rate}) for rate in range(20, 32)]).assign(ttft_p99_s=math.inf)
    found = chart(Runs(pd.concat([table, many])), ChartColumns(y="ttft_p99_s"))
    assert found.left_out.endswith("edf, workload.rate_rps 22; 18 more.")


def test_a_column_that_is_nowhere_finite_is_refused() -> None:
    with pytest.raises(InputError) as error:
        chart(Runs(study().table.assign(ttft_p99_s=math.inf)), ChartColumns(y="ttft_p99_s"))
    with pytest.raises(InputError, match=r"^x: ttft_p99_s is finite at no point, so there is nothing to draw$"):
        chart(Runs(study().table.assign(ttft_p99_s=math.inf)), ChartColumns(x="ttft_p99_s"))
    assert str(error.value) == "y: ttft_p99_s is finite at no point, so there is nothing to draw"


def test_options_of_a_policy_have_a_line_per_family() -> None:
    rows = [row(f"chunked:{n}", 8, 0, n / 1000, **{"policy.budget": n}) for n in (256, 512)]
    found = chart(Runs(pd.DataFrame(rows).assign(ci_attainment_low=0.0, ci_attainment_high=1.0)), ChartColumns())
    assert (found.columns.x, found.columns.hue) == ("policy.budget", "family")
    assert lines(found) == {"": {"chunked": [25.6, 51.2]}}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (ChartColumns(x="workload.rate"), "x: unknown column 'workload.rate'; did you mean 'workload.rate_rps'?"),
        (ChartColumns(y="atainment"), "y: unknown column 'atainment'; did you mean 'attainment'?"),
        (ChartColumns(y="policy"), "y must be a column of numbers, got 'policy'"),
        (
            ChartColumns(y="ttft_p99_s", facet="class"),
            "y must be a column of each class, such as attainment or ttft_p99_s",
        ),
        (ChartColumns(against="fcfs", x="policy"), "against: is given where policies are compared along x or facet"),
        (ChartColumns(against="sjf"), "unknown policy 'sjf' of the study"),
        (ChartColumns(x="seed"), "runs with the same policy, seed: differ in workload.rate_rps"),
    ],
)
def test_what_cannot_be_drawn_is_said(columns: ChartColumns, message: str) -> None:
    with pytest.raises(InputError) as error:
        chart(study(), columns)
    assert str(error.value).startswith(message)


def test_failed_runs_alone_are_nothing_to_draw() -> None:
    with pytest.raises(InputError, match=r"^study: has no run that succeeded, so there is nothing to draw$"):
        chart(Runs(study().table.assign(error="broken")), ChartColumns())


def test_values_are_said_with_their_column_unless_they_are_plain() -> None:
    assert said("policy", "fcfs") == "fcfs"
    assert said("slo.scale", 0.5) == "slo.scale 0.5"
    assert said("class", "eu/chat") == "eu/chat"
    assert said(None, None) == ""
