"""Figures: bars and lines against the results they show, and pictures that can be saved whatever the names."""

from __future__ import annotations

import io
import math
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from flowsim.rendering.result_figures import (
    ClassAttainment,
    Distribution,
    attainment_by_class,
    blocking_distribution,
    ttft_distribution,
)
from flowsim.rendering.style import COLOURS
from flowsim.results.result import RunResult
from flowsim.runs.compare import Comparison
from support.results import NEVER, by_hand, six


def axes() -> Axes:
    return Figure().subplots()


def heights(drawn: Axes) -> list[list[float]]:
    return [[bar.get_height() for bar in bars] for bars in drawn.containers]


def plotted(results: dict[str, RunResult]) -> Figure:
    return Comparison(results).plot()


def picture(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def test_a_bar_for_each_class_and_policy() -> None:
    classes = [("all", None), ("text", 1.0), ("file", 4.0), ("other", None)]
    shares = {"six": [40, 100 / 3, 50, math.nan], "other": [100, 100, 100, math.nan]}
    drawn = attainment_by_class(ClassAttainment(classes, shares), axes())
    assert [bars.get_label() for bars in drawn.containers] == ["six", "other"]
    assert heights(drawn)[0] == pytest.approx([40, 100 / 3, 50, math.nan], nan_ok=True)
    assert heights(drawn)[1] == pytest.approx([100, 100, 100, math.nan], nan_ok=True)
    assert [text.get_text() for text in drawn.get_xticklabels()] == ["all", "text\n1 s", "file\n4 s", "other"]
    assert [text.get_text() for text in drawn.texts] == ["40", "33.3", "50", "", "100", "100", "100", ""]


def test_bars_of_a_class_stand_side_by_side() -> None:
    drawn = attainment_by_class(
        ClassAttainment([("all", None), ("x", 1.0)], {name: [40, 50] for name in "abc"}), axes()
    )
    edges = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bars in drawn.containers for bar in bars)
    assert all(right <= left + 1e-9 for (_, right), (left, _) in pairwise(edges))


def test_a_distribution_is_a_line_of_steps() -> None:
    distribution = Distribution.of(np.array([0.5, 2.0, 4.0, NEVER, NEVER, 5.0]))
    (line,) = ttft_distribution({"six": distribution}, axes()).get_lines()
    assert list(line.get_xdata()) == [0.5, 2.0, 4.0, 5.0]
    assert list(line.get_ydata()) == pytest.approx([100 / 6, 200 / 6, 300 / 6, 400 / 6])
    assert line.get_drawstyle() == "steps-post"


def test_a_logarithmic_axis_leaves_out_what_took_no_time() -> None:
    (line,) = ttft_distribution({"a": Distribution.of(np.array([0.0, 1.0]))}, axes()).get_lines()
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([1.0], [100.0])


def test_blocking_times_are_drawn_in_milliseconds_or_said_to_be_none() -> None:
    drawn = blocking_distribution({"a": Distribution.of(np.array([0.004, 0.002]))}, axes())
    assert list(drawn.get_lines()[0].get_xdata()) == [2.0, 4.0]
    none = blocking_distribution({"a": Distribution.of(np.array([]))}, axes())
    assert [text.get_text() for text in none.texts] == ["no pass was told to stop"]


def test_a_policy_has_one_colour_in_both_panels() -> None:
    figure = plotted({"a": six(), "b": six()})
    left, right = figure.axes
    bars = [container[0].get_facecolor() for container in left.containers]
    assert bars == [to_rgba(line.get_color()) for line in right.get_lines()] == [to_rgba(c) for c in COLOURS[:2]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_more_policies_than_colours_still_differ() -> None:
    figure = plotted({f"p{i}": six() for i in range(2 * len(COLOURS) + 1)})
    left, right = figure.axes
    assert len({(c[0].get_facecolor(), c[0].get_hatch()) for c in left.containers}) == 2 * len(COLOURS) + 1
    assert len({(line.get_color(), line.get_linestyle()) for line in right.get_lines()}) == 2 * len(COLOURS) + 1


def test_the_same_results_give_the_same_picture() -> None:
    first, second = (picture(plotted({"fcfs": six(), "chunked:2048": six()})) for _ in range(2))
    assert first == second
    assert len(first) > 10_000


def nothing() -> RunResult:
    return by_hand([0, 1], [NEVER, NEVER], [1, NEVER], ["a", "b"], started_s=[NEVER, NEVER])


TWELVE = range(12)
CASES = {
    "formulas": {"$x$ \\foo": by_hand([0], [1], [2], ["$y$ \\bar"])},
    "underscores": {"_mine": six(), "my_module:My_Class": six()},
    "nothing finished": {"a": nothing(), "b": nothing()},
    "no time at all": {"a": by_hand([0, 0], [0, 0], [1, 1])},
    "many classes": {"a": by_hand(TWELVE, range(1, 13), [2] * 12, [f"class with a long name {i}" for i in range(12)])},
    "long names": {f"flowprefill:cut=layer,batch_tokens=4096,reserve=0.{i}": six() for i in TWELVE},
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_overlaps_or_is_clipped_whatever_the_names(case: str) -> None:
    figure = plotted(CASES[case])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    legend = figure.legends[0].get_window_extent(renderer)
    panels = [drawn.get_tightbbox(renderer) for drawn in figure.axes]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(CASES[case])
    for box in (legend, *panels):
        assert figure.bbox.x0 <= box.x0 + 1 and box.x1 <= figure.bbox.x1 + 1
        assert figure.bbox.y0 <= box.y0 + 1 and box.y1 <= figure.bbox.y1 + 1
    assert not any(legend.overlaps(panel) for panel in panels)
    assert not panels[0].overlaps(panels[1])


def test_long_names_of_classes_keep_their_beginning_and_end() -> None:
    names = ["a" * 40 + end for end in ("x" * 10, "y" * 10)]
    drawn = attainment_by_class(ClassAttainment([(name, 1.0) for name in names], {"one": [1.0, 2.0]}), axes())
    assert [text.get_text() for text in drawn.get_xticklabels()] == [
        f"{'a' * 17}...{'x' * 10}\n1 s",
        f"{'a' * 17}...{'y' * 10}\n1 s",
    ]
