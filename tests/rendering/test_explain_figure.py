"""The figure of why requests missed."""

from __future__ import annotations

import pytest

from flowsim.rendering.explain_figure import misses_by_class


def test_the_bars_of_a_class_add_up_to_its_misses() -> None:
    by_class = {"$a$": {"later": 3, "earlier": 1, "hopeless": 0}, "b": {"later": 0}, "none": {}}
    figure = misses_by_class(by_class, {"$a$": 8, "b": 5, "none": 0}, "fcfs")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["$a$ (8)", "b (5)"]
    assert [bars.get_label() for bars in axes.containers] == ["behind earlier deadlines", "behind later deadlines"]
    first = [bars[0] for bars in axes.containers]
    assert [bar.get_width() for bar in first] == pytest.approx([12.5, 37.5])
    assert [bar.get_x() for bar in first] == pytest.approx([0.0, 12.5])
    assert [bars[1].get_width() for bars in axes.containers] == [0, 0]


def test_without_a_miss_there_is_no_legend() -> None:
    figure = misses_by_class({"b": {"later": 0}}, {"b": 5}, "fcfs")
    assert not figure.legends
