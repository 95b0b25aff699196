"""All figures of a study, chosen by the options that vary."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from flowsim.errors import InputError, InputWarning, unknown
from flowsim.rendering.costs_text import cost_footing
from flowsim.rendering.style import foot, new_panels
from flowsim.studies.figure_data import OF_POLICY, family, is_number, with_short_traces
from flowsim.studies.figures import bars_height, class_tradeoff, heat_map, lines, max_goodput, ttft_distribution
from flowsim.studies.goodput_rules import RULES
from flowsim.studies.intervals import intervals
from flowsim.studies.kept_requests import keeps_requests
from flowsim.studies.replications import REPLICATION, varied
from flowsim.studies.search import max_rate
from flowsim.studies.sweep import Runs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 3
"""Panels side by side."""


def draw(runs: Runs) -> dict[str, Figure]:
    """Every figure that the options varied in a study allow, by name.

    Options that are words (trace, GPU) make one figure each, or one panel each, where others are numbers.

    Raises:
        InputError: no run succeeded, or more options vary than a figure can show: select one value of some.

    Warns:
        InputWarning: the distribution of TTFT is not drawn, as requests that the study kept are not there.
    """
    runs = with_short_traces(runs)
    done = runs.succeeded
    if done.empty:
        raise InputError("study", "has no run that succeeded, so there is nothing to draw")
    searched, free = max_rate(RULES[0]) in done, _free(done)
    words = [name for name in free if not is_number(done[name])]
    if words and searched and len(words) == len(free):
        figures = {"max_goodput": max_goodput_panels(runs, words)}
    elif words and len(free) > 1:
        figures = _each(runs, words[: len(free) - 1])
    else:
        values = [max_rate(rule) for rule in RULES] if searched else ["attainment"]
        figures = {name: figure for value in values for name, figure in _drawn(runs, value, free).items()}
    if keeps_requests(runs, "ttft_s", "counted"):
        try:
            figures["ttft"] = _figure(ttft_distribution(runs))
        except InputError as error:
            warnings.warn(f"no figure of the TTFT: {error}", InputWarning, stacklevel=2)
    for figure in figures.values():
        if runs.title and not figure.get_suptitle():
            title = textwrap.fill(runs.title, int(12 * figure.get_size_inches()[0]))
            figure.suptitle(title, x=0.01, ha="left", fontsize=10, parse_math=False)
        if runs.costs:
            foot(figure, cost_footing(runs.costs))
    return figures


def max_goodput_panels(runs: Runs, by: Sequence[str]) -> Figure:
    """`max_goodput` for each combination of values of one or two options, such as trace and GPU; the last goes across.

    Raises:
        InputError: as `max_goodput` does; also for more than two options.
    """
    if len(by) > 2:
        raise _too_many(by)
    done = runs.succeeded
    down, across = (list(dict.fromkeys(done[name])) for name in (by[0], by[-1]))
    down = down if len(by) == 2 else [None]
    height = bars_height(done["policy"].nunique())
    figure, panels = new_panels(len(down), len(across), (6.2 * len(across), height * len(down)))
    for (row, column), axes in np.ndenumerate(panels):
        part = done[(done[by[-1]] == across[column]) & ((done[by[0]] == down[row]) | (len(by) == 1))]
        if part.empty:
            axes.axis("off")
            continue
        max_goodput(replace(runs, table=part), axes)
        axes.set_title(", ".join(_setting(name, part[name].iloc[0]) for name in by), loc="left", fontsize=11)
        if row < len(down) - 1:
            axes.set_xlabel("")
        if column:
            axes.set_yticklabels([])
    return figure


def classes_panels(runs: Runs, x: str) -> Figure:
    """`class_tradeoff` of each policy, side by side on the same scale."""
    policies = list(dict.fromkeys(runs.succeeded["policy"]))
    across = min(ACROSS, len(policies))
    down = -(-len(policies) // across)
    figure, panels = new_panels(down, across, (4 * across, 3.2 * down))
    for place, axes in enumerate(panels.flat):
        if place >= len(policies):
            axes.axis("off")
            continue
        class_tradeoff(runs, x, policies[place], axes)
        if place:
            axes.get_legend().remove()
        if place % across:
            axes.set_ylabel("")
        if place + across < len(policies):
            axes.set_xlabel("")
    return figure


def selected(runs: Runs, settings: Sequence[str]) -> Runs:
    """The runs in which options have these values, each written NAME=VALUE.

    Raises:
        InputError: no such option, or no run has that value.
    """
    import pandas as pd  # slow to import, and only tables need it

    table = runs.table
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise InputError("--select", found=setting, expected="NAME=VALUE")
        if name not in table:
            raise unknown("option", name, [*varied(table), *REPLICATION])
        known = table[name].map(lambda value: f"{value:g}" if isinstance(value, float) else str(value))
        chosen = known == text
        if is_number(table[name]):
            chosen |= table[name] == pd.to_numeric(text, errors="coerce")
        if not chosen.any():
            raise InputError(f"--select {name}", found=text, expected=f"one of {', '.join(dict.fromkeys(known))}")
        table = table[chosen]
    return replace(runs, table=table)


def _free(done: pd.DataFrame) -> list[str]:
    """The options that vary, other than the policy and replications; those of the policy first."""
    options = [name for name in varied(done) if name != "policy" and name not in REPLICATION]
    return sorted(options, key=lambda name: not name.startswith(OF_POLICY))


def _each(runs: Runs, words: Sequence[str]) -> dict[str, Figure]:
    """The figures of each combination of values of these options."""
    figures = {}
    for values, part in runs.succeeded.groupby(list(words), sort=False):
        setting = ", ".join(map(_setting, words, values))
        title = ": ".join(text for text in (runs.title, setting) if text)
        for name, figure in draw(replace(runs, table=part, folder=None, title=title)).items():
            figures[f"{name}-{setting}"] = figure
    return figures


def _drawn(runs: Runs, value: str, free: Sequence[str]) -> dict[str, Figure]:
    done = runs.succeeded
    if len(free) > 2:
        raise _too_many(free)
    if len(free) == 2:
        x, y = free
        names = family(done["policy"]) if x.startswith(OF_POLICY) else done["policy"]
        parts = {str(name): replace(runs, table=part) for name, part in done.groupby(names, sort=False)}
        means = intervals(done, value, ["policy", y, x])["mean"]
        ends = float(means.min()), float(means.max())
        return {
            f"{value}-{x}-{y}-{name}": _figure(heat_map(part, x, y, value, ends=ends)) for name, part in parts.items()
        }
    if not free:
        whole = {value: lines(runs, "policy", value)} if value == "attainment" else {"max_goodput": max_goodput(runs)}
        return {name: _figure(axes) for name, axes in whole.items()}
    axes = lines(runs, free[0], value)
    drawn = {f"{value}-{free[0]}": _figure(axes)}
    if value == "attainment" and not free[0].startswith("policy.") and is_number(done[free[0]]):
        drawn[f"classes-{free[0]}"] = classes_panels(runs, free[0])
    return drawn


def _too_many(names: Sequence[str]) -> InputError:
    return InputError(", ".join(names), "all vary", expected=f"at most two that vary: --select {names[0]}=VALUE")


def _setting(name: str, value: object) -> str:
    return f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"


def _figure(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure
