"""Figures of studies, each a function that returns its Axes; `flowsim.studies.plots` makes all of a study."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flowsim.errors import InputError, unknown
from flowsim.show.style import COLOURS, plain
from flowsim.studies.intervals import REPLICATION, intervals, ratios, varied
from flowsim.studies.store import REQUESTS
from flowsim.studies.sweep import Runs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MARKERS = "osD^vPX*"
LINES: dict[str, Any] = {"markersize": 4, "linewidth": 1.5, "elinewidth": 1, "capsize": 2}
ERROR_BARS: dict[str, Any] = {"capsize": 3, "elinewidth": 1.2, "ecolor": "0.45"}
LABELS = {
    "rate_rps": "request rate, req/s",
    "rate_scale": "request rate, as a multiple of the trace's",
    "slo_scale": "SLO scale",
    "attainment": "requests within their TTFT SLO, %",
    "max_rate_rps": "max goodput: highest rate sustained, req/s",
    "goodput_rps": "goodput, req/s",
    "policy.budget": "chunk, tokens",
    "predictor": "predictor",
}


def lines(runs: Runs, x: str, value: str = "attainment", axes: Axes | None = None) -> Axes:
    """A figure of a run against an option, a line a policy, with 95 % intervals.

    They are Student's t over the replications; of one replication the moving-block bootstrap of its attainment.

    Raises:
        InputError: no such column, or runs that differ in a further option: select one value of it.
    """
    axes = axes if axes is not None else _new((6.4, 4.2))
    done, name = runs.succeeded, "policy"
    if x.startswith("policy."):
        done, name = done.assign(family=done["policy"].str.partition(":")[0]), "family"
    by = list(dict.fromkeys((name, x)))
    stats = intervals(done, value, by) if x in done else _no(x, done)
    if value == "attainment" and (stats["n"] <= 1).all():
        bounds = done.groupby(by, sort=False)[["attainment_low", "attainment_high"]].first().reset_index()
        stats[["low", "high"]] = bounds[["attainment_low", "attainment_high"]]
    factor = 100 if value.startswith("attainment") else 1
    ticks = list(dict.fromkeys(stats[x])) if stats[x].dtype.kind not in "iuf" else None
    for place, (policy, of) in enumerate(stats.groupby(name, sort=False)):
        at = of[x] if ticks is None else of[x].map(ticks.index)
        _line(axes, place, stats[name].nunique(), at, of, factor, str(policy), "-" if ticks is None else "")
    if ticks is not None:
        axes.set_xticks(range(len(ticks)), ticks, rotation=30, ha="right")
        axes.set_xlim(-0.3, len(ticks) - 0.7)
    else:
        _scale(axes, np.unique(stats[x]))
    _finish(axes, x, value)
    if x == "policy":
        axes.get_legend().remove()
    lowest = float(np.nanmin(factor * stats[["mean", "low"]].to_numpy()))
    if value == "attainment" and lowest > 60:
        axes.set_ylim(bottom=10 * math.floor(lowest / 10))
    return axes


def max_goodput(runs: Runs, axes: Axes | None = None) -> Axes:
    """Bars: the highest rate that each policy sustains, with intervals, and its paired ratio to the first policy's."""
    done = runs.succeeded
    if "max_rate_rps" not in done:
        raise InputError("no highest rates here, allowed is a study with capacity, or flowsim capacity --out")
    stats, first = intervals(done, "max_rate_rps", ["policy"]), done["policy"].iloc[0]
    ratio = ratios(done, "max_rate_rps", first).set_index("policy")["mean"]
    axes = axes if axes is not None else _new((7, bars_height(len(stats))))
    places = np.arange(len(stats))[::-1]
    error = np.nan_to_num([stats["mean"] - stats["low"], stats["high"] - stats["mean"]])
    colours = [COLOURS[place % len(COLOURS)] for place in range(len(stats))]
    axes.barh(places, stats["mean"], 0.62, xerr=error, color=colours, error_kw=ERROR_BARS)
    right = float((stats["mean"] + error[1]).max())
    for place, policy, mean, more in zip(places, stats["policy"], stats["mean"], error[1], strict=True):
        times = f"  ({ratio[policy]:.2f} x)" if ratio.get(policy, math.nan) > 0 else ""
        axes.text(mean + more + 0.015 * right, place, f"{mean:.3g}{times}", va="center", fontsize=9)
    axes.set_yticks(places, list(stats["policy"]))
    axes.set_xlim(0, 1.3 * right or 1)
    axes.set_xlabel(f"{LABELS['max_rate_rps']} (ratio to {first})")
    _title(axes, "Max goodput")
    plain(axes)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", alpha=0.25)
    return axes


def bars_height(bars: int) -> float:
    """Inches that so many bars need."""
    return 0.42 * bars + 1.3


def heat_map(
    runs: Runs,
    x: str,
    y: str,
    value: str = "attainment",
    axes: Axes | None = None,
    ends: tuple[float, float] | None = None,
) -> Axes:
    """A figure of the runs of one policy over two options, the mean of the replications written in each cell.

    The colours go from one of `ends` to the other, those of all policies if they are to be compared; default: its own.

    Raises:
        InputError: no such column, or runs of several policies or of a further option: select one.
    """
    axes = axes if axes is not None else _new((5.6, 4.4))
    table = (
        intervals(runs.succeeded, value, [y, x]).pivot(index=y, columns=x, values="mean").sort_index(ascending=False)
    )
    factor = 100 if value.startswith("attainment") else 1
    cells = factor * table.to_numpy()
    bottom, top = (factor * end for end in ends) if ends else (np.nanmin(cells), np.nanmax(cells))
    image = axes.imshow(cells, cmap="cividis", aspect="auto", vmin=bottom, vmax=top)
    middle = (bottom + top) / 2
    for row, column in np.ndindex(cells.shape):
        if not np.isnan(cells[row, column]):
            colour = "black" if cells[row, column] > middle else "white"
            axes.text(column, row, f"{cells[row, column]:.3g}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(table.shape[1]), [f"{at:g}" for at in table.columns])
    axes.set_yticks(range(table.shape[0]), [f"{at:g}" for at in table.index])
    axes.set_xlabel(_label(x))
    axes.set_ylabel(_label(y))
    axes.figure.colorbar(image, ax=axes, label=_label(value))
    _title(axes, ", ".join(dict.fromkeys(runs.succeeded["policy"])))
    return axes


def class_tradeoff(runs: Runs, x: str, policy: str, axes: Axes | None = None) -> Axes:
    """Attainment of each class against an option, under one policy: who pays, and from where on."""
    axes = axes if axes is not None else _new((6.4, 4.2))
    done = runs.succeeded
    if policy not in set(done["policy"]):
        raise unknown("policy of the study", policy, set(done["policy"]))
    done = done[done["policy"] == policy]
    names = classes_of(done)
    for place, name in enumerate(names):
        stats = intervals(done, f"attainment_{name}", [x])
        _line(axes, place, len(names), stats[x], stats, 100, name)
    _scale(axes, np.unique(done[x]))
    _finish(axes, x, "attainment")
    _title(axes, policy)
    return axes


def ttft_distribution(runs: Runs, axes: Axes | None = None) -> Axes:
    """The share of requests with a first token within a time, all runs of a policy together.

    Raises:
        InputError: the study kept no requests ("requests: true").
    """
    import pandas as pd

    axes = axes if axes is not None else _new((6.4, 4.2))
    folder = (runs.folder or Path()) / REQUESTS
    if runs.folder is None or not folder.is_dir():
        raise InputError("no requests kept, allowed is a study with requests: true, and a folder")
    for place, (policy, of) in enumerate(runs.succeeded.groupby("policy", sort=False)):
        files = [folder / f"{key[:16]}.parquet" for key in of["key"]]
        ttft_s = pd.concat([pd.read_parquet(file, columns=["ttft_s"]) for file in files])["ttft_s"]
        known = np.sort(ttft_s.dropna())
        share = 100 * np.arange(1, known.size + 1) / ttft_s.size
        axes.step(known, share, where="post", label=str(policy), color=COLOURS[place % len(COLOURS)], linewidth=1.6)
    axes.set_xscale("log")
    axes.set_ylim(0, 102)
    axes.set_xlabel("TTFT, s")
    axes.set_ylabel("requests, %")
    axes.legend(frameon=False)
    _title(axes, "Time to first token")
    plain(axes)
    return axes


def classes_of(table: pd.DataFrame) -> list[str]:
    """The request classes of these runs."""
    names = [name.removeprefix("requests_") for name in table.columns if name.startswith("requests_")]
    return [name for name in names if table[f"attainment_{name}"].notna().any()]


def _no(name: str, table: pd.DataFrame) -> Any:
    raise unknown("option", name, [*varied(table), *REPLICATION])


def _new(size: tuple[float, float]) -> Axes:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=size, layout="constrained")
    plt.close(figure)  # a notebook shows what a cell returns; pyplot is to show nothing besides
    return axes


def _line(
    axes: Axes, place: int, of: int, at: pd.Series, stats: pd.DataFrame, factor: int, label: str, dash: str = "-"
) -> None:
    """One line with its error bars, a point (of the page) beside its neighbours' so that none hides another."""
    from matplotlib.transforms import ScaledTranslation

    top = 100 if factor == 100 else np.inf  # a share stays between 0 and 100 %
    mean, low, high = (factor * stats[name] for name in ("mean", "low", "high"))
    error = np.maximum(np.nan_to_num([mean - low.clip(0, top), high.clip(0, top) - mean]), 0)
    aside = ScaledTranslation((place - (of - 1) / 2) * 1.2 / 72, 0, axes.figure.dpi_scale_trans)
    style = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)], **LINES}
    axes.update_datalim(np.column_stack([at, mean + error[1]]))
    axes.errorbar(at, mean, error, label=label, linestyle=dash, transform=axes.transData + aside, **style)


def _scale(axes: Axes, at: Any) -> None:
    """Limits around these values; a logarithmic axis for what spans three doublings or more."""
    if at[0] > 0 and at[-1] >= 8 * at[0]:
        shown = [at[0]]
        for value in at:
            if value >= 1.3 * shown[-1]:
                shown.append(value)
        axes.set_xscale("log", base=2)
        axes.set_xticks(shown, [f"{value:g}" for value in shown])
        axes.set_xticks(at, [""] * len(at), minor=True)
        axes.set_xlim(at[0] / 1.1, at[-1] * 1.1)
    else:
        margin = 0.04 * (at[-1] - at[0]) or 0.5
        axes.set_xlim(at[0] - margin, at[-1] + margin)


def _finish(axes: Axes, x: str, value: str) -> None:
    if value.startswith("attainment"):
        axes.set_ylim(0, 103)
    else:
        axes.autoscale_view()
        axes.set_ylim(bottom=0)
    axes.set_xlabel(_label(x))
    axes.set_ylabel(_label(value))
    axes.legend(frameon=False, fontsize=9)
    plain(axes)


def _label(name: str) -> str:
    return f"share of {name.removeprefix('mix.')}" if name.startswith("mix.") else LABELS.get(name, name)


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left")
