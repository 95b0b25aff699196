"""Figures of studies, each a function that returns its Axes; `draw` makes all that a study has in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flowsim.errors import InputError, unknown
from flowsim.files import writing
from flowsim.plots import COLOURS, _plain
from flowsim.statistics import REPLICATION, intervals, varied
from flowsim.store import REQUESTS
from flowsim.sweep import Runs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "osD^vPX*"
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

    The band is Student's t over the replications; of one replication the moving-block bootstrap of its attainment.

    Raises:
        InputError: no such column, or runs that differ in a further option: select one value of it.
    """
    axes = axes if axes is not None else _new((6.4, 4.2))
    done, name = _done(runs), "policy"
    if x.startswith("policy."):
        done, name = done.assign(family=done["policy"].str.partition(":")[0]), "family"
    stats = intervals(done, value, [name, x]) if x in done else _no(x, done)
    if value == "attainment" and (stats["n"] <= 1).all():
        bounds = done.groupby([name, x], sort=False)[["attainment_low", "attainment_high"]].first().reset_index()
        stats[["low", "high"]] = bounds[["attainment_low", "attainment_high"]]
    factor = 100 if value.startswith("attainment") else 1
    ticks = list(dict.fromkeys(stats[x])) if stats[x].dtype.kind not in "iuf" else None
    for place, (policy, of) in enumerate(stats.groupby(name, sort=False)):
        at = of[x] if ticks is None else of[x].map(ticks.index)
        style = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
        axes.plot(at, factor * of["mean"], label=str(policy), markersize=4, linewidth=1.6, **style)
        axes.fill_between(at, *_clipped(of, factor), color=style["color"], alpha=0.15, linewidth=0)
    if ticks is not None:
        axes.set_xticks(range(len(ticks)), ticks, rotation=30, ha="right")
    elif (at := np.unique(stats[x]))[0] > 0 and at[-1] >= 8 * at[0]:
        axes.set_xscale("log", base=2)
        axes.set_xticks(at, [f"{value:g}" for value in at], minor=False)
    _finish(axes, x, value)
    return axes


def max_goodput(runs: Runs, axes: Axes | None = None) -> Axes:
    """Bars: the highest rate that each policy sustains, with intervals, and its ratio to the first policy's."""
    done = _done(runs)
    if "max_rate_rps" not in done:
        raise InputError("no highest rates here, allowed is a study with capacity, or flowsim capacity --out")
    stats = intervals(done, "max_rate_rps", ["policy"])
    axes = axes if axes is not None else _new((7, 0.5 * len(stats) + 1.4))
    places = np.arange(len(stats))[::-1]
    error = np.nan_to_num([stats["mean"] - stats["low"], stats["high"] - stats["mean"]])
    colours = [COLOURS[place % len(COLOURS)] for place in range(len(stats))]
    axes.barh(places, stats["mean"], 0.62, xerr=error, color=colours, error_kw={"capsize": 3, "elinewidth": 1})
    first, right = stats["mean"].iloc[0], float((stats["mean"] + error[1]).max())
    for place, mean, more in zip(places, stats["mean"], error[1], strict=True):
        ratio = f"  ({mean / first:.2f} x)" if first and place != places[0] else ""
        axes.text(mean + more + 0.015 * right, place, f"{mean:.1f}{ratio}", va="center", fontsize=9)
    axes.set_yticks(places, list(stats["policy"]))
    axes.set_xlim(0, 1.22 * right)
    axes.set_xlabel(LABELS["max_rate_rps"])
    _title(axes, "Max goodput")
    _plain(axes)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", alpha=0.25)
    return axes


def heat_map(runs: Runs, x: str, y: str, value: str = "attainment", axes: Axes | None = None) -> Axes:
    """A figure of the runs of one policy over two options, the mean of the replications written in each cell.

    Raises:
        InputError: no such column, or runs of several policies or of a further option: select one.
    """
    axes = axes if axes is not None else _new((5.6, 4.4))
    table = intervals(_done(runs), value, [y, x]).pivot(index=y, columns=x, values="mean").sort_index(ascending=False)
    factor = 100 if value.startswith("attainment") else 1
    cells = factor * table.to_numpy()
    image = axes.imshow(cells, cmap="cividis", aspect="auto")
    middle = np.nanmean([np.nanmin(cells), np.nanmax(cells)])
    for row, column in np.ndindex(cells.shape):
        if not np.isnan(cells[row, column]):
            colour = "black" if cells[row, column] > middle else "white"
            axes.text(column, row, f"{cells[row, column]:.3g}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(table.shape[1]), [f"{at:g}" for at in table.columns])
    axes.set_yticks(range(table.shape[0]), [f"{at:g}" for at in table.index])
    axes.set_xlabel(_label(x))
    axes.set_ylabel(_label(y))
    axes.figure.colorbar(image, ax=axes, label=_label(value))
    _title(axes, ", ".join(dict.fromkeys(_done(runs)["policy"])))
    return axes


def class_tradeoff(runs: Runs, x: str, policy: str, axes: Axes | None = None) -> Axes:
    """Attainment of each class against an option, under one policy: who pays, and from where on."""
    axes = axes if axes is not None else _new((6.4, 4.2))
    done = _done(runs)
    if policy not in set(done["policy"]):
        raise unknown("policy of the study", policy, set(done["policy"]))
    done = done[done["policy"] == policy]
    for place, name in enumerate(classes_of(done)):
        stats = intervals(done, f"attainment_{name}", [x])
        style = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
        axes.plot(stats[x], 100 * stats["mean"], label=name, markersize=4, linewidth=1.6, **style)
        axes.fill_between(stats[x], *_clipped(stats, 100), color=style["color"], alpha=0.15, linewidth=0)
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
    for place, (policy, of) in enumerate(_done(runs).groupby("policy", sort=False)):
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
    _plain(axes)
    return axes


def classes_of(table: pd.DataFrame) -> list[str]:
    """The request classes of these runs."""
    names = [name.removeprefix("requests_") for name in table.columns if name.startswith("requests_")]
    return [name for name in names if table[f"attainment_{name}"].notna().any()]


def draw(runs: Runs) -> dict[str, Figure]:
    """Every figure that the options varied in a study allow, by name.

    Raises:
        InputError: no run succeeded, or more options vary than a figure can show: select one value of some.
    """
    done = _done(runs)
    if done.empty:
        raise InputError("no run of this study succeeded, so there is nothing to draw")
    value = "max_rate_rps" if "max_rate_rps" in done else "attainment"
    options = [name for name in varied(done) if name != "policy" and name not in REPLICATION]
    policies = list(dict.fromkeys(done["policy"]))
    own = [name for name in options if name.startswith("policy.")]
    free = own or [name for name in options if not name.startswith("policy.")]
    drawn: dict[str, Axes] = {}
    if len(free) == 2:
        for policy in policies:
            only = replace(runs, table=done[done["policy"] == policy])
            drawn[f"{value}-{'-'.join(free)}-{policy}"] = heat_map(only, free[0], free[1], value)
    elif len(free) == 1:
        drawn[f"{value}-{free[0]}"] = lines(runs, free[0], value)
        if value == "attainment" and not own:
            numeric = done[free[0]].dtype.kind in "iuf"
            names = policies if numeric else []
            drawn |= {f"classes-{policy}": class_tradeoff(runs, free[0], policy) for policy in names}
    elif free:
        raise InputError(f"{', '.join(free)} all vary, allowed are two of them at most: --select {free[0]}=VALUE")
    if value == "max_rate_rps" and not free:
        drawn["max_goodput"] = max_goodput(runs)
    if runs.folder is not None and (runs.folder / REQUESTS).is_dir():
        drawn["ttft"] = ttft_distribution(runs)
    if not drawn:
        drawn["attainment"] = lines(runs, "seed", value)
    return {name: _figure(axes) for name, axes in drawn.items()}


def save(figures: Mapping[str, Figure], folder: str | Path) -> list[str]:
    """Write each figure as PNG and SVG, all or none; the names of the files."""
    import re

    import matplotlib as mpl

    names = []
    with writing(folder) as stage, mpl.rc_context({"svg.hashsalt": "flowsim"}):
        for name, figure in figures.items():
            stem = re.sub(r"[^\w.=,-]+", "-", name)
            figure.savefig(stage / f"{stem}.png", dpi=150, metadata={"Software": None})
            figure.savefig(stage / f"{stem}.svg", metadata={"Date": None})
            names += [f"{stem}.png", f"{stem}.svg"]
    return names


def select(runs: Runs, settings: Sequence[str]) -> Runs:
    """The runs in which options have these values, each written NAME=VALUE.

    Raises:
        InputError: no such option, or no run has that value.
    """
    table = runs.table
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in table:
            raise unknown("option", name, [*varied(table), *REPLICATION])
        known = table[name].map(lambda value: f"{value:g}" if isinstance(value, float) else str(value))
        if not (known == text).any():
            raise InputError(f"no run has {setting}, allowed for {name} is {', '.join(dict.fromkeys(known))}")
        table = table[known == text]
    return replace(runs, table=table)


def _done(runs: Runs) -> pd.DataFrame:
    return runs.table[runs.table["error"].isna()]


def _no(name: str, table: pd.DataFrame) -> Any:
    raise unknown("option", name, [*varied(table), *REPLICATION])


def _new(size: tuple[float, float]) -> Axes:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=size, layout="constrained")
    plt.close(figure)  # a notebook shows what a cell returns; pyplot is to show nothing besides
    return axes


def _figure(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def _clipped(stats: pd.DataFrame, factor: int) -> tuple[Any, Any]:
    """The bounds of the band; a share stays between 0 and 100 %."""
    top = 100 if factor == 100 else np.inf
    return (factor * stats["low"]).clip(0, top), (factor * stats["high"]).clip(0, top)


def _finish(axes: Axes, x: str, value: str) -> None:
    if value.startswith("attainment"):
        axes.set_ylim(0, 103)
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(_label(x))
    axes.set_ylabel(_label(value))
    axes.legend(frameon=False, fontsize=9)
    _plain(axes)


def _label(name: str) -> str:
    return f"share of {name.removeprefix('mix.')}" if name.startswith("mix.") else LABELS.get(name, name)


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left")
