"""The files of figures: of studies, runs and comparisons, and of one chart of any columns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import flowsim
from flowsim.errors import InputError, InputWarning
from flowsim.report.plot import plot, save
from flowsim.studies.plot import draw, selected

TRACE = "synthetic:qwen:60"


@pytest.fixture(scope="module")
def rates(tmp_path_factory: pytest.TempPathFactory) -> flowsim.Runs:
    """A study of two policies and rates."""
    axes: dict[str, Any] = {"policy": ["fcfs", "flowprefill"], "workload.rate_rps": [8, 24]}
    folder = tmp_path_factory.mktemp("rates")
    return flowsim.sweep({"run": {"trace": TRACE}, "axes": axes, "requests": True}, folder, workers=1)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a comparison, of which one policy's is the folder of a run."""
    return flowsim.compare(TRACE, ["fcfs", "flowprefill"]).save(tmp_path_factory.mktemp("compared"))


def test_all_figures_of_a_study_are_written_twice_with_the_same_bytes(rates: flowsim.Runs, tmp_path: Path) -> None:
    figures = draw(rates)
    assert list(figures) == ["attainment-workload.rate_rps", "classes-workload.rate_rps", "ttft"]
    names = save(figures, tmp_path / "a", ["png", "svg", "pdf"])
    save(draw(rates), tmp_path / "b", ["png", "svg", "pdf"])
    assert len(names) == 9
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


def test_names_that_differ_in_signs_alone_are_files_of_their_own(rates: flowsim.Runs, tmp_path: Path) -> None:
    (figure, *_) = draw(rates).values()
    assert save({"a/b": figure, "a:b": figure}, tmp_path, ["svg"]) == ["a-b.svg", "a-b-2.svg"]


def test_the_figures_of_a_folder_are_those_of_its_runs(rates: flowsim.Runs, tmp_path: Path) -> None:
    assert rates.folder is not None
    figures = plot(rates.folder, tmp_path / "out", ["seed=0"])
    assert list(figures) == [f"{name}-seed=0" for name in plot(selected(rates, ["seed=0"]))]
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.png")) == sorted(figures)


def test_columns_make_one_chart_of_the_width_asked_for(rates: flowsim.Runs, tmp_path: Path) -> None:
    chart = {"y": "ttft_p99_s", "facet": "policy", "hue": "class", "width": "column"}
    figures = plot(rates, tmp_path, ["workload.rate_rps=8"], **chart, formats=["pdf"])  # type: ignore[arg-type]
    (figure,) = figures.values()
    assert [path.name for path in tmp_path.iterdir()] == [
        "ttft_p99_s-policy-policy-by-class-workload.rate_rps=8-column.pdf"
    ]
    assert figure.get_size_inches()[0] == 3.33
    assert figure.get_supxlabel() == "Costs: h200/llama3-8b/tp1, measured, error 1.1 %"


def test_a_point_that_is_not_finite_is_told(rates: flowsim.Runs) -> None:
    table = rates.table.assign(ttft_p99_s=rates.table["ttft_p99_s"].mask(rates.table["policy"] == "fcfs", float("inf")))
    runs = replace(rates, table=table, title="Mine")
    with pytest.warns(InputWarning, match=r"^Left out, as not finite: fcfs, workload.rate_rps 8; fcfs, workload"):
        (figure,) = plot(runs, y="ttft_p99_s").values()
    assert ". Left out, as not finite: fcfs" in figure.get_supxlabel()
    assert figure.get_suptitle() == "Mine"


def test_a_comparison_and_a_run_have_the_figure_that_compare_saves(compared: Path) -> None:
    (figure,) = plot(compared).values()
    bars, distribution = figure.axes
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["fcfs", "flowprefill"]
    assert len(bars.containers) == len(distribution.lines) == 2
    (alone,) = plot(compared / "fcfs").values()
    drawn, other = distribution.lines[0].get_xydata(), alone.axes[1].lines[0].get_xydata()
    assert drawn.tolist() == other.tolist()


def test_what_cannot_be_drawn_is_refused(rates: flowsim.Runs, compared: Path) -> None:
    def refused(*given: Any, **more: Any) -> str:
        with pytest.raises(InputError) as error:
            plot(*given, **more)
        return str(error.value)

    assert refused(3) == "results must be a study's Runs, or the folder that holds them, got 3"
    assert refused(rates, formats=["pgn"]) == "format: unknown format 'pgn'; did you mean 'png'? (known: pdf, png, svg)"
    assert refused(rates, width="colum").startswith("width must be column, page, or inches")
    assert refused(compared, select=["policy=fcfs"]).startswith("select: is of a study")
