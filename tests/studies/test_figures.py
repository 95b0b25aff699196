"""Figures of studies: what they show, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

import flowsim
from flowsim.errors import InputError
from flowsim.studies.figures import class_tradeoff, heat_map, lines, max_goodput
from flowsim.studies.plot import draw, selected
from support.studies import RUN

mpl.use("Agg")


def test_lines_are_the_means_of_the_replications(rates: flowsim.Runs) -> None:
    axes = lines(rates, "workload.rate_rps")
    assert axes.get_legend_handles_labels()[1] == ["fcfs", "flowprefill"]
    means = rates.intervals("attainment", ["policy", "workload.rate_rps"])["mean"].to_numpy()
    shown = [container[0].get_ydata() for container in axes.containers]
    assert np.concatenate(shown).tolist() == (100 * means).tolist()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("request rate, req/s", "requests within their TTFT SLO, %")


def test_error_bars_of_one_replication_are_those_of_the_bootstrap(rates: flowsim.Runs) -> None:
    one = selected(rates, ["seed=0", "policy=fcfs"])
    bars = lines(one, "workload.rate_rps").containers[0].lines[2][0].get_segments()
    bounds = one.table[["ci_attainment_low", "ci_attainment_high"]].to_numpy()
    assert np.array(bars)[:, :, 1] == pytest.approx(100 * bounds)


def test_a_bound_beyond_the_mean_is_no_error_bar(rates: flowsim.Runs) -> None:
    one = selected(rates, ["seed=0"])
    wrong = one.table.assign(ci_attainment_low=one.table["attainment"] + 1e-6)
    bars = lines(replace(one, table=wrong), "workload.rate_rps").containers[0].lines[2][0].get_segments()
    assert all(bottom[1] <= top[1] for bottom, top in bars)


def test_policies_alone_are_places_on_the_axis(rates: flowsim.Runs) -> None:
    figures = draw(replace(selected(rates, ["workload.rate_rps=24"]), folder=None))
    assert list(figures) == ["attainment"]
    axes = figures["attainment"].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["fcfs", "flowprefill"]
    assert [container[0].get_xdata().tolist() for container in axes.containers] == [[0], [1]]
    assert axes.get_legend() is None


def test_bars_are_highest_rates_with_their_ratio(searched: flowsim.Runs) -> None:
    axes = max_goodput(searched)
    values = [f"max_rate_{rule}_rps" for rule in ("attainment", "sustained")]
    means = [searched.intervals(value)["mean"].tolist() for value in values]
    assert [bar.get_width() for bar in axes.patches] == [*means[0], *means[1]]
    ratios = [searched.ratios(value, against="fcfs")["mean"][0] for value in values]
    assert [text.get_text() for text in axes.texts] == [
        f"{means[0][0]:.3g} attainment",
        f"{means[0][1]:.3g} ({ratios[0]:.2f} x) attainment",
        f"{means[1][0]:.3g} sustained",
        f"{means[1][1]:.3g} ({ratios[1]:.2f} x) sustained",
    ]


def test_a_rate_that_nothing_limits_has_no_bar(searched: flowsim.Runs) -> None:
    table = searched.table
    endless = table.assign(
        limited_by_attainment=table["limited_by_attainment"].where(table["policy"] == "fcfs", "nothing")
    )
    axes = max_goodput(replace(searched, table=endless))
    assert axes.patches[1].get_width() == 0
    assert axes.texts[1].get_text() == "not limited by attainment"
    draw(replace(searched, table=pd.concat([endless.assign(**{"slo.scale": scale}) for scale in (1.0, 2.0)])))


def test_highest_rates_against_an_option_are_a_figure_by_each_rule(searched: flowsim.Runs) -> None:
    twice = [searched.table.assign(**{"slo.scale": scale}) for scale in (1.0, 2.0)]
    figures = draw(replace(searched, table=pd.concat(twice)))
    assert list(figures) == ["max_rate_attainment_rps-slo.scale", "max_rate_sustained_rps-slo.scale"]
    labels = [figure.axes[0].get_ylabel() for figure in figures.values()]
    assert labels == ["max goodput by attainment, req/s", "max goodput, sustained, req/s"]


def test_a_heat_map_has_a_cell_for_each_pair() -> None:
    axes: dict[str, Any] = {"workload.mix.text": [0.2, 0.6], "workload.mix.search": [0.1, 0.2, 0.3]}
    runs = flowsim.sweep({"run": {**RUN, "workload.rate_rps": 20, "policy": "fcfs"}, "axes": axes}, workers=1)
    drawn = heat_map(runs, "workload.mix.search", "workload.mix.text")
    cells = np.array(drawn.images[0].get_array())
    assert cells.shape == (2, 3)
    at = runs.table[(runs.table["workload.mix.text"] == 0.2) & (runs.table["workload.mix.search"] == 0.3)]
    assert cells[1, 2] == pytest.approx(100 * at["attainment"].iloc[0])
    assert (drawn.get_xlabel(), drawn.get_ylabel()) == ("share of search", "share of text")
    assert list(draw(runs)) == ["attainment-workload.mix.text-workload.mix.search-fcfs"]
    worse = runs.table.assign(policy="edf", attainment=runs.table["attainment"] / 2)
    both = draw(replace(runs, table=pd.concat([runs.table, worse])))
    ends = {figure.axes[0].images[0].get_clim() for figure in both.values()}
    assert ends == {(50 * runs.table["attainment"].min(), 100 * runs.table["attainment"].max())}


def test_classes_are_lines_of_their_own(rates: flowsim.Runs) -> None:
    axes = class_tradeoff(rates, "workload.rate_rps", "fcfs")
    assert axes.get_legend_handles_labels()[1] == ["text", "image", "search", "file"]
    with pytest.raises(InputError, match="unknown policy 'fcf' of the study; did you mean 'fcfs'"):
        class_tradeoff(rates, "workload.rate_rps", "fcf")


def test_options_that_are_words_are_places_on_the_axis() -> None:
    axes: dict[str, Any] = {"predictor": ["exact", "biased:2"]}
    drawn = lines(flowsim.sweep({"run": {**RUN, "workload.rate_rps": 20}, "axes": axes}, workers=1), "predictor")
    assert [label.get_text() for label in drawn.get_xticklabels()] == ["exact", "biased:2"]


def test_an_option_of_the_policy_is_one_line() -> None:
    axes: dict[str, Any] = {"policy.budget": [512, 2048]}
    runs = flowsim.sweep({"run": {**RUN, "workload.rate_rps": 20, "policy": "chunked"}, "axes": axes}, workers=1)
    assert list(draw(runs)) == ["attainment-policy.budget"]
    assert lines(runs, "policy.budget").lines[0].get_xdata().tolist() == [512, 2048]


def test_an_option_of_the_policy_and_another_are_a_heat_map_of_the_family() -> None:
    axes: dict[str, Any] = {"policy.budget": [512, 2048], "slo.scale": [0.5, 1]}
    runs = flowsim.sweep({"run": {**RUN, "workload.rate_rps": 20, "policy": "chunked"}, "axes": axes}, workers=1)
    figures = draw(runs)
    assert list(figures) == ["attainment-policy.budget-slo.scale-chunked"]
    drawn = figures["attainment-policy.budget-slo.scale-chunked"].axes[0]
    assert np.array(drawn.images[0].get_array()).shape == (2, 2)
    assert (drawn.get_title(loc="left"), drawn.get_xlabel()) == ("chunked", "chunk, tokens")
    assert list(draw(selected(runs, ["slo.scale=1"]))) == ["attainment-policy.budget"]


def test_highest_rates_of_several_traces_and_gpus_are_panels() -> None:
    runs = flowsim.capacity(
        ["synthetic:qwen:60", "synthetic:mooncake-conversation:60"],
        ["fcfs", "edf"],
        replications=2,
        tolerance=0.2,
        workers=1,
    )
    figures = draw(runs)
    assert list(figures) == ["max_goodput"]
    assert [axes.get_title(loc="left") for axes in figures["max_goodput"].axes] == [
        "trace synthetic:qwen:60",
        "trace synthetic:mooncake-conversation:60",
    ]
    many = runs.table.assign(gpu=runs.table["seed"].map("h{}".format))
    assert len(draw(replace(runs, table=many))["max_goodput"].axes) == 4
    with pytest.raises(
        InputError, match="trace, model, gpu: all vary; expected at most two that vary: --select trace=VALUE"
    ):
        draw(replace(runs, table=many.assign(model=many["gpu"])))


def test_traces_with_one_file_name_have_figures_of_their_own(rates: flowsim.Runs) -> None:
    many = pd.concat([rates.table.assign(trace=f"/logs/{day}/log.csv") for day in ("mon", "tue")])
    assert list(draw(replace(rates, table=many, folder=None))) == [
        f"{name}-workload.rate_rps-trace {day}/log.csv" for day in ("mon", "tue") for name in ("attainment", "classes")
    ]


def test_traces_of_a_sweep_have_figures_of_their_own() -> None:
    axes: dict[str, Any] = {"trace": ["synthetic:qwen:60", "example"], "workload.rate_rps": [8, 24]}
    figures = draw(flowsim.sweep({"run": {"policy": "fcfs"}, "axes": axes}, workers=1))
    assert list(figures) == [
        f"{name}-workload.rate_rps-trace {trace}"
        for trace in ("synthetic:qwen:60", "example")
        for name in ("attainment", "classes")
    ]
