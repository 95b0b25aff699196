"""Results as people read them: one screen of text in the shell, a small table in a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from flowsim.show.format import percent, seconds

Summary = Mapping[str, Any]


def run_report(summary: Summary) -> RenderableType:
    """One screen about one run."""
    inputs = summary["inputs"]
    head = _facts(
        [
            ("trace", f"{inputs['trace']}: {summary['requests']:,} requests, {_rate(summary['offered_rps'])} offered"),
            *[("", notice) for notice in inputs["trace_notices"]],
            ("policy", summary["policy"]),
            *_cache(inputs),
            *_costs(inputs),
            ("SLOs", inputs["slo"]),
        ]
    )
    return Group(head, Text(), _classes(summary), Text(), _facts(_scheduler(summary)))


def compare_report(summaries: Mapping[str, Summary]) -> RenderableType:
    """One screen about several policies on the same requests."""
    first = next(iter(summaries.values()))
    inputs = first["inputs"]
    head = _facts(
        [
            ("trace", f"{inputs['trace']}: {first['requests']:,} requests, {_rate(first['offered_rps'])} offered"),
            *[("", notice) for notice in inputs["trace_notices"]],
            *_cache(inputs),
            *_costs(inputs),
            ("SLOs", inputs["slo"]),
        ]
    )
    table = _table(
        "policy", "attained", "goodput", "TTFT p50", "p90", "p99", "blocking mean", "max", "preempted", "use"
    )
    for name, summary in summaries.items():
        ttft, blocking = summary["ttft_s"], summary["blocking_s"]
        table.add_row(
            name,
            percent(summary["attainment"]),
            _rate(summary["goodput_rps"]),
            *(seconds(ttft[key]) for key in ("p50", "p90", "p99")),
            *(seconds(blocking[key]) for key in ("mean", "max")),
            f"{summary['preemptions']:,}",
            percent(summary["utilization"]),
        )
    classes = _table("attained", *first["classes"], "unfinished", "rejected")
    for name, summary in summaries.items():
        shares = (percent(figures["attainment"]) for figures in summary["classes"].values())
        classes.add_row(name, *shares, f"{summary['unfinished']:,}", f"{summary['rejected']:,}")
    return Group(head, Text(), table, Text(), classes)


def _cache(inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    if inputs["prefix_cache"] == "none":
        return []
    return [("prefixes", f"{inputs['prefix_cache']} cache: {percent(inputs['cached_share'])} of input tokens cached")]


def cost_line(name: str, error: Mapping[str, Mapping[str, float]] | None) -> str:
    """The cost model and how far it is off passes really measured."""
    if not error:
        return f"{name} (error not known)"
    whole = "whole prompt, from 1024 tokens"
    kind, what = (whole, "prefills from 1024 tokens") if whole in error else (next(iter(error)),) * 2
    return f"{name}, off measured {what} by {error[kind]['median']:.1%} (median), {error[kind]['max']:.1%} (most)"


def _costs(inputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "costs", cost_line(inputs["cost_model"], inputs["cost_model_error"])
    for source in inputs["cost_model_sources"]:
        yield "", source
    if prompts := inputs.get("extrapolated"):
        yield "", f"{prompts:,} prompts reach beyond the measured sizes: extrapolated"


def errors_report(
    error: Mapping[str, Mapping[str, float]], told: Mapping[str, Mapping[str, float]] | None = None
) -> RenderableType:
    """How far a cost model is off each kind of pass that was really measured and not fitted.

    `told`: the same, had the model been told of the GPU's speed ("at this GPU's speed").
    """
    more = ("at this GPU's speed: median", "largest") if told else ()
    table = _table("measured passes, not fitted", "passes", "median error", "largest error", *more)
    for kind, of in error.items():
        both = [of, told[kind]] if told else [of]
        table.add_row(kind, str(of["passes"]), *(f"{of[key]:.2%}" for of in both for key in ("median", "max")))
    return table


def tradeoff_report(rows: Iterable[Mapping[str, Any]]) -> RenderableType:
    """What each way of preempting costs the long prompt, and how long it blocks the short one."""
    table = _table("preemption", "long prompt alone", "more than whole", "blocking mean", "p99", "max")
    for row in rows:
        blocking = (seconds(row[key]) for key in ("mean_s", "p99_s", "max_s"))
        table.add_row(row["preemption"], seconds(row["solo_s"]), f"{row['solo_more']:+.1%}", *blocking)
    return table


def summary_html(summary: Summary) -> str:
    """The same figures as an HTML table, for notebooks."""
    columns = ("", "requests", "SLO", "attained", "goodput", "TTFT p50", "p90", "p99", "max")
    body = "".join(_html_row("td", row) for row in _class_rows(summary))
    facts = "; ".join(f"{key} {value}" for key, value in _scheduler(summary))
    title = f"{summary['policy']} on {summary['inputs']['trace']}"
    return (
        f"<div><b>{html.escape(title)}</b><table>{_html_row('th', columns)}{body}</table>"
        f"<small>{html.escape(facts)}</small></div>"
    )


def _html_row(cell: str, values: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{cell}>{html.escape(value)}</{cell}>' for value in values)}</tr>"


def _classes(summary: Summary) -> Table:
    table = _table("class", "requests", "SLO", "attained", "goodput", "TTFT p50", "p90", "p99", "max")
    for row in _class_rows(summary):
        table.add_row(*row)
    return table


def _class_rows(summary: Summary) -> list[tuple[str, ...]]:
    rows = [("all", summary, None)] + [(name, of, of["ttft_slo_s"]) for name, of in summary["classes"].items()]
    return [
        (
            name,
            f"{figures['requests']:,}",
            "" if figures is summary else seconds(slo_s),
            percent(figures["attainment"]),
            _rate(figures["goodput_rps"]),
            *(seconds(figures["ttft_s"][key]) for key in ("p50", "p90", "p99", "max")),
        )
        for name, figures, slo_s in rows
    ]


def _scheduler(summary: Summary) -> list[tuple[str, str]]:
    blocking = summary["blocking_s"]
    times = ", ".join(f"{key} {seconds(blocking[key])}" for key in ("p50", "p99", "max"))
    return [
        ("preemptions", f"{summary['preemptions']:,}; blocking time {times}"),
        (
            "device",
            f"used {percent(summary['utilization'])}; of that for checks {percent(summary['check_share'])}; "
            f"scheduler deciding {percent(summary['control_share'])} of the time",
        ),
        (
            "requests",
            f"unfinished {summary['unfinished']:,}, rejected {summary['rejected']:,}, without SLO "
            f"{summary['without_slo']:,}; longest wait {seconds(summary['longest_wait_s'])}",
        ),
    ]


def show(what: RenderableType) -> None:
    """Print it: as wide as the terminal, or 120 columns where there is none."""

    # Names of traces, classes and policies are no markup.
    plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
    console = Console(**plain)
    if not console.is_terminal:
        console = Console(width=120, **plain)
    console.print(what)


def plain_table(first: str, *columns: str) -> Table:
    """A table without lines; all columns but the first are numbers."""
    return _table(first, *columns)


def _table(first: str, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column(first, overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    return table


def _facts(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in rows:
        table.add_row(key, value)
    return table


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} req/s"
