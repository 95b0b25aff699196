"""Figures in files."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from matplotlib.text import Text

import flowsim
from flowsim.cli.main import main
from flowsim.rendering.figure_file import save_figure
from flowsim.rendering.result_figures import Distribution, ttft_distribution
from flowsim.rendering.style import new_axes

DRAWN = (
    "compare t.csv --policy fcfs --policy edf --out out -q",
    "explain t.csv --figure out.png",
    "traces info t.csv --against other.csv --figure out.png",
    "sweep study.yaml --out runs --workers 1 -q",
    "plot runs --out figures -q",
    "plot runs --out figures --x workload.rate_scale --y attainment --hue policy --facet seed -q",
)
"""Commands that draw, in their order."""
STUDY = """
title: "$t_1$"
run: {trace: t.csv}
requests: true
axes: {policy: [fcfs, edf], workload.rate_scale: [1, 8], seed: [1, 2]}
"""


def test_names_with_dollars_are_drawn_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arrivals_s, classes = [0.1 * k for k in range(40)], ["$x_1$", "$\\frac$"] * 20
    trace = flowsim.Trace.of(arrivals_s, [900] * 40, classes=classes, slo_s=[0.01, 9] * 20, name="$n$")
    for name in ("t.csv", "other.csv"):
        flowsim.traces.write_trace(trace, name)
    Path("study.yaml").write_text(STUDY)
    saved, drawn = Figure.savefig, []

    def savefig(figure: Figure, *arguments: Any, **options: Any) -> None:
        saved(figure, *arguments, **options)
        drawn.append([text for text in figure.findobj(Text) if "$" in text.get_text()])

    monkeypatch.setattr(Figure, "savefig", savefig)
    for command in DRAWN:
        result = CliRunner().invoke(main, command.split())
        assert result.exit_code == 0, result.output
    named = list(itertools.chain.from_iterable(drawn))
    assert len(named) > 10
    assert [text.get_text() for text in named if text.get_parse_math() or "mathdefault" in text.get_text()] == []


@pytest.mark.parametrize("span", [1.02, 1.6, 3, 12, 1e4])
def test_numbers_on_axes_of_times_are_plain_and_do_not_overlap(tmp_path: Path, span: float) -> None:
    axes = ttft_distribution({"fcfs": Distribution.of(0.0123 * np.linspace(1, span, 9))}, new_axes((4.4, 3)))
    save_figure(axes.figure, tmp_path / "a.png")
    ticks = [text for text in axes.get_xticklabels(which="both") if text.get_text()]
    shown = [text for text in ticks if axes.get_xlim()[0] <= text.get_position()[0] <= axes.get_xlim()[1]]
    shown.sort(key=lambda text: text.get_position()[0])
    assert [float(text.get_text()) for text in shown] == pytest.approx([text.get_position()[0] for text in shown])
    boxes = [text.get_window_extent() for text in shown]
    assert len(boxes) >= 2
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


@pytest.mark.parametrize("backend", ["module://not_installed.backend", "nonsense"])
def test_a_figure_is_saved_whatever_the_backend_for_windows(tmp_path: Path, backend: str) -> None:
    """Case W_uniform_1rps with MPLBACKEND."""
    words = ["-m", "flowsim", "compare", "example", "--limit", "20", "--policy", "fcfs", "--out", "out", "-q"]
    done = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, env={**os.environ, "MPLBACKEND": backend}, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "out" / "comparison.png").stat().st_size > 10_000


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_same_figure_has_the_same_bytes(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")  # another day than today
    save_figure(new_axes((2, 2)).figure, tmp_path / f"a.{ending}")
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    save_figure(new_axes((2, 2)).figure, tmp_path / f"b.{ending}")
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
