"""Charts as they are drawn: their width, their panels, and nothing cut off or covered."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from matplotlib.figure import Figure

from flowsim.errors import InputError
from flowsim.report.chart import ChartColumns, Panel, PanelChart
from flowsim.report.chart_figure import draw_chart, inches, x_label, y_label
from flowsim.studies.figure_data import Line
from support.figures import texts_outside

RATE = "workload.rate_rps"
BARS = "Bars: 95 %, Student's t over the replications"
NAMES = ("fcfs", "chunked:2048", "moore-hodgson:cut=operator", "flowprefill")


def made(
    panels: int = 1, against: str | None = None, y: str = "attainment", names: Sequence[str] = NAMES
) -> PanelChart:
    import numpy as np

    x, mean = np.array([4.0, 8, 24]), np.array([99.0, 60, 20])
    lines = [Line(name, x, mean - i, mean - i - 5, mean - i + 5) for i, name in enumerate(names)]
    columns = ChartColumns(RATE, y, "policy", "slo.scale" if panels > 1 else None, against)
    many = [Panel(f"slo.scale {i}" if panels > 1 else "", lines) for i in range(panels)]
    return PanelChart(columns, many, names, [4, 8, 24], words=False, joined=True, bars=BARS, left_out="")


@pytest.mark.parametrize("panels", [1, 2, 3, 5])
@pytest.mark.parametrize("width", ["column", "page", 2.5])
def test_nothing_is_cut_off_and_the_legend_covers_no_panel(panels: int, width: str | float) -> None:
    figure = draw_chart(made(panels), width, "Costs: h200/llama3-8b/tp1, measured, error 1.1 %")
    assert figure.get_size_inches()[0] == inches(width)
    figure.draw_without_rendering()
    assert texts_outside(figure) == []
    (legend,) = figure.legends
    top = max(axes.get_window_extent().y1 for axes in shown(figure))
    assert legend.get_window_extent().y0 >= top


def shown(figure: Figure) -> list:  # type: ignore[type-arg]
    return [axes for axes in figure.axes if axes.axison]


def test_panels_share_their_axes_and_label_the_outer_ones() -> None:
    figure = draw_chart(made(3), "column")
    first, second, third = shown(figure)
    assert first.get_ylim() == second.get_ylim() == third.get_ylim()
    assert [bool(axes.get_ylabel()) for axes in (first, second, third)] == [True, False, True]
    assert [bool(axes.get_xlabel()) for axes in (first, second, third)] == [False, True, True]


def test_points_are_joined_in_the_order_of_x() -> None:
    (axes,) = shown(draw_chart(made(), "page"))
    for line in axes.lines[:1]:
        assert all(a < b for a, b in pairwise(line.get_xdata()))


def test_a_difference_has_a_line_at_zero_and_room_on_both_sides() -> None:
    (axes,) = shown(draw_chart(made(against="fcfs"), "column"))
    low, high = axes.get_ylim()
    assert low < 0 and high > 104
    assert any(list(line.get_ydata()) == [0, 0] for line in axes.lines)


def test_a_single_line_has_a_legend_where_it_is_a_difference() -> None:
    (legend,) = draw_chart(made(against="fcfs", names=["edf"]), "column").legends
    assert [text.get_text() for text in legend.get_texts()] == ["edf"]
    assert draw_chart(made(names=["edf"]), "column").legends == []


def test_axes_name_columns_and_units() -> None:
    assert x_label(ChartColumns(x=RATE)) == "request rate, req/s"
    assert x_label(ChartColumns(x="server.slots")) == "server.slots"
    assert y_label(ChartColumns(y="ttft_p99_s")) == "TTFT p99, s"
    assert y_label(ChartColumns(y="check_share")) == "check share, %"
    assert y_label(ChartColumns(y="attainment", against="fcfs")) == (
        "requests within their TTFT SLO, difference from fcfs, % points"
    )


def test_what_the_bars_are_and_what_is_left_out_is_said_at_the_foot() -> None:
    from dataclasses import replace

    figure = draw_chart(replace(made(), left_out="Left out, as not finite: fcfs."), "page", "Costs: measured")
    assert figure.get_supxlabel() == f"Costs: measured. {BARS}. Left out, as not finite: fcfs."


def test_the_title_stands_above_the_legend_or_the_chart() -> None:
    (legend,) = draw_chart(made(), "column", title="Costs of $5 to $6").legends
    assert legend.get_title().get_text() == "Costs of $5 to $6"
    assert draw_chart(made(names=["edf"]), "column", title="Mine").get_suptitle() == "Mine"


def test_a_long_name_is_whole_in_the_legend_and_inside_the_figure() -> None:
    name = "a" * 90
    figure = draw_chart(made(names=[name, "edf"]), "column")
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert legend.get_texts()[0].get_text().replace("\n", "") == name
    assert legend.get_window_extent().x0 >= 0
    assert texts_outside(figure) == []


def test_a_legend_shows_bars_only_where_a_line_has_some() -> None:
    from dataclasses import replace

    chart = made(names=["edf"], against="fcfs")
    bare = [replace(line, low=line.low * float("nan"), high=line.high * float("nan")) for line in chart.panels[0].lines]
    for lines, bars in ((chart.panels[0].lines, True), (bare, False)):
        (axes,) = shown(draw_chart(replace(chart, panels=[Panel("", lines)])))
        assert axes.containers[0].has_yerr is bars


@pytest.mark.parametrize(("width", "rotation"), [("page", 0), (1.6, 30)])
def test_words_on_the_axis_are_slanted_only_where_they_would_meet(width: str | float, rotation: float) -> None:
    from dataclasses import replace

    chart = replace(made(2), ticks=["fcfs", "flowprefill", "edf"], words=True, joined=False)
    axes = shown(draw_chart(chart, width))[-1]
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {rotation}


@pytest.mark.parametrize("width", ["columns", "1", "0", 50, "nan"])
def test_a_width_is_a_name_or_inches(width: str | float) -> None:
    with pytest.raises(InputError) as error:
        inches(width)
    assert str(error.value) == f"width must be column, page, or inches from 1.6 to 40, got {width!r}"
