"""What a trace looks like, as people read it: a screen of text, and a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flowsim.errors import InputError
from flowsim.traces.statistics import groups
from flowsim.traces.trace import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.console import RenderableType

BARS = " ▁▂▃▄▅▆▇█"


def info_report(facts: Mapping[str, Any]) -> RenderableType:
    """One screen about a trace, from `statistics.info`."""
    from rich.console import Group
    from rich.text import Text

    from flowsim.show.screen import facts as _facts
    from flowsim.show.screen import table as _table

    table = _table("tokens", "requests", "mean", "p10", "p25", "p50", "p75", "p90", "p99", "max", "rank corr.")
    for name, of in facts["lengths"].items():
        for column in ("input", "output"):
            if of[column] is not None:
                count, corr = (
                    (f"{of['requests']:,}", _number(of["rank_correlation"])) if column == "input" else ("", "")
                )
                table.add_row(f"{_printable(name)} {column}", count, *(f"{v:,.0f}" for v in of[column].values()), corr)
    return Group(_facts(_lines(facts)), Text(), table)


def _lines(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    dispersion = ", ".join(f"{window} s: {_number(value)}" for window, value in facts["dispersion"].items())
    rate = facts["rate"]["rps"]
    lines = [
        ("trace", f"{facts['source']}, SHA-256 {facts['sha256'][:12]}"),
        *[("", notice) for notice in facts["notices"]],
        ("requests", f"{facts['requests']:,} in {facts['span_s']:,.6g} s, {_number(facts['rate_rps'], 4)} req/s"),
    ]
    if rate:
        bins = f"each {facts['rate']['bin_s']:.4g} s; from {min(rate):.3g} to {max(rate):.3g} req/s"
        lines.append(("rate", f"{''.join(BARS[math.ceil(8 * r / max(rate))] for r in rate)}  {bins}"))
    lines.append(("gaps", f"CV {_number(facts['gap_cv'])}; index of dispersion in windows of {dispersion}"))
    if (prefix := facts["prefix"]) is not None:
        lines.append(
            (
                "prefixes",
                f"{prefix['blocks']:,} blocks of {prefix['block_tokens']} tokens, {prefix['different_blocks']:,} "
                f"different; a cache that forgets nothing serves {prefix['tokens_share']:.1%} of the input tokens and "
                f"some of {prefix['requests_share']:.1%} of the requests",
            )
        )
    if facts["turns"] is not None:
        lines.append(("turns", f"{facts['turns']:,} requests continue another"))
    return lines


def distances_report(distances: Mapping[str, Any], name: str) -> RenderableType:
    """How far a trace is from the one of this name, from `statistics.distances`."""
    from rich.console import Group
    from rich.text import Text

    from flowsim.show.screen import facts as _facts
    from flowsim.show.screen import table as _table

    table = _table(f"against {name}", "requests", "there", "share", "there", "KS input", "KS output")
    for group, of in distances["ks"].items():
        counts, shares = (f"{n:,}" for n in of["requests"]), (f"{share:.1%}" for share in of["share"])
        table.add_row(_printable(group), *counts, *shares, *(_share(of[column]) for column in ("input", "output")))
    bursts = ", ".join(f"{window} s: {_pair(pair)}" for window, pair in distances["dispersion"].items())
    lines = [("rate", f"{_pair(distances['rate_rps'])} req/s"), ("gaps", f"CV {_pair(distances['gap_cv'])}")]
    return Group(Text(), table, Text(), _facts([*lines, ("dispersion", f"index in windows of {bursts}")]))


def _share(distance: float | None) -> str:
    return "-" if distance is None else f"{distance:.4f}"


def _printable(name: str) -> str:
    """A class as a cell of one line, which steers no terminal."""
    return "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in name)


def _pair(values: Sequence[float | None]) -> str:
    return " against ".join(_number(value) for value in values)


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}g}"


def figure(trace: Trace) -> Figure:
    """Three panels: the request rate over time, and the distributions of input and of output length by class."""
    import matplotlib.pyplot as plt

    from flowsim.show.style import COLOURS
    from flowsim.show.style import plain as _plain

    drawn, axes = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    plt.close(drawn)
    if trace.span_s:
        counts, edges = np.histogram(trace.arrival_s, max(min(120, len(trace) // 10), 1), (0, trace.span_s))
        axes[0].stairs(counts / np.diff(edges), edges, fill=True, color=COLOURS[0], alpha=0.8)
    else:
        _note(axes[0], "all at once")
    requests = f"{len(trace):,} request{'s' * (len(trace) > 1)}"
    axes[0].set(xlabel="time, s", ylabel="requests per second")
    axes[0].set_title(f"{_short(trace.name)}: {requests}", parse_math=False)
    for panel, column in zip(axes[1:], ("input_length", "output_length"), strict=True):
        _distributions(panel, trace, column)
    for panel in axes:
        _plain(panel)
    return drawn


def _distributions(panel: Axes, trace: Trace, column: str) -> None:
    """The share of the requests up to each length, by class."""
    from flowsim.show.style import COLOURS

    some, drawn = groups(trace), list[str]()
    colours = [COLOURS[0]] if len(some) == 1 else ["#444444", *(COLOURS[k % 7] for k in range(len(some)))]
    for (name, rows), colour in zip(some.items(), colours, strict=False):
        lengths = np.sort(getattr(trace, column)[rows])
        if lengths.any():
            share = 100 * np.arange(lengths.size + 1) / lengths.size
            panel.step(np.maximum(np.append(lengths[0], lengths), 1), share, where="post", color=colour)
            drawn.append(name)
    if not panel.lines:
        _note(panel, "not known")
    elif len(some) > 1:
        for text in panel.legend(panel.lines, map(_short, drawn), frameon=False).get_texts():
            text.set_parse_math(False)
    panel.set(xscale="log", xlabel=f"{column.replace('_', ' ')}, tokens", ylabel="requests, %", ylim=(0, 102))


def _short(name: str) -> str:
    return name if len(name) <= 30 else f"{name[:27]}..."


def _note(panel: Axes, text: str) -> None:
    panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center")


def check_figure(path: str | Path) -> None:
    """Raise `InputError` when a path's ending is no image's."""
    if Path(path).suffix not in (".png", ".pdf", ".svg"):
        raise InputError(f"{path}: allowed is a file that ends in .png, .pdf or .svg")


def save_figure(trace: Trace, path: str | Path) -> None:
    """Draw `figure` into a file; InputError when its ending is no image's, or it cannot be written."""
    check_figure(path)
    target = Path(path)
    partial = target.with_name(f".{target.name}.partial{target.suffix}")
    try:
        figure(trace).savefig(partial)
        partial.replace(target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror})") from None
    finally:
        partial.unlink(missing_ok=True)
