"""Traces as text: what one looks like, how far it is from another, and which are known by name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from flowsim.io.counts import number_of, percent
from flowsim.rendering import screen

BARS = " ▁▂▃▄▅▆▇█"
MOST_PRIORITIES = 8


def info_report(facts: Mapping[str, Any]) -> RenderableType:
    """One screen about a trace, from the facts of `flowsim.traces.info`."""
    table = screen.table("tokens", "requests", "mean", "p10", "p25", "p50", "p75", "p90", "p99", "max", "rank corr.")
    for name, row in facts["lengths"].items():
        for column in ("input", "output"):
            if row[column] is not None:
                count, corr = (
                    (f"{row['requests']:,}", _number(row["rank_correlation"])) if column == "input" else ("", "")
                )
                table.add_row(f"{_printable(name)} {column}", count, *(f"{v:,.0f}" for v in row[column].values()), corr)
    return Group(screen.facts(_lines(facts)), Text(), table)


def _lines(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    dispersion = ", ".join(f"{window} s: {_number(value)}" for window, value in facts["dispersion"].items())
    rate = facts["rate"]["rps"]
    lines = [
        ("trace", f"{facts['source']}, SHA-256 {facts['sha256'][:12]}"),
        *[("", notice) for notice in facts["notices"]],
        ("requests", f"{facts['requests']:,} {_when(facts)}"),
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
                f"different; a cache that forgets nothing serves at most {percent(prefix['tokens_share'])} "
                f"of the input tokens and some of {percent(prefix['requests_share'])} of the requests",
            )
        )
    if facts["turns"] is not None:
        lines.append(("turns", f"{number_of(facts['turns'], 'request')} continue{'s' * (facts['turns'] == 1)} another"))
    return lines + _per_request(facts)


def _when(facts: Mapping[str, Any]) -> str:
    """Span and rate of the requests."""
    if not facts["span_s"]:
        return "at one instant"
    return f"in {facts['span_s']:,.6g} s, {_number(facts['rate_rps'], 4)} req/s"


def _per_request(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The SLOs, priorities and clients that a trace gives its requests."""
    lines = []
    if (slo := facts["slo"]) is not None:
        lines.append(
            ("SLOs", f"{number_of(slo['requests'], 'request')}, from {slo['least_s']:g} to {slo['most_s']:g} s")
        )
    if (counts := facts["priority"]) is not None:
        shown = ", ".join(f"{priority}: {n:,}" for priority, n in list(counts.items())[:MOST_PRIORITIES])
        more = f", ... ({len(counts)} in all)" if len(counts) > MOST_PRIORITIES else ""
        lines.append(("priorities", f"requests with {shown}{more}"))
    if (clients := facts["clients"]) is not None:
        count = number_of(clients["clients"], "client")
        lines.append(("clients", f"{count}; the largest sent {percent(clients['largest_share'])} of the requests"))
    if (ttft := facts["measured"]) is not None:
        shown = ", ".join(f"{name} {ttft[name]:.4g}" for name in ("p10", "p50", "p90", "p99", "max"))
        lines.append(("measured", f"TTFTs of {number_of(ttft['requests'], 'request')} on a real server: {shown} s"))
    return lines


def list_report(rows: Iterable[Sequence[str]]) -> RenderableType:
    """What is known by name, from the rows of `flowsim.traces.list`."""
    table = screen.table("kind")
    table.add_column("name", no_wrap=True)
    table.add_column("what", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def distances_report(distances: Mapping[str, Any], name: str) -> RenderableType:
    """How far a trace is from the one of this name, from `flowsim.traces.statistics.trace_distances`."""
    table = screen.table(f"against {name}", "requests", "there", "share", "there", "KS input", "KS output")
    for group, apart in distances["ks"].items():
        counts, shares = (f"{n:,}" for n in apart["requests"]), map(percent, apart["share"])
        table.add_row(_printable(group), *counts, *shares, *(_share(apart[column]) for column in ("input", "output")))
    bursts = ", ".join(f"{window} s: {_pair(pair)}" for window, pair in distances["dispersion"].items())
    lines = [("rate", f"{_pair(distances['rate_rps'])} req/s"), ("gaps", f"CV {_pair(distances['gap_cv'])}")]
    return Group(Text(), table, Text(), screen.facts([*lines, ("dispersion", f"index in windows of {bursts}")]))


def _share(distance: float | None) -> str:
    return "-" if distance is None else f"{distance:.4f}"


def _printable(name: str) -> str:
    """The name of a class in one line, without control characters."""
    return "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in name)


def _pair(values: Sequence[float | None]) -> str:
    return " against ".join(_number(value) for value in values)


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}g}"
