"""Runs, comparisons, trade-offs and cost models, each as one screen of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flowsim.core.summary import FullSummary, Summary
from flowsim.io.counts import number_of, percent
from flowsim.rendering.costs_text import cost_line
from flowsim.rendering.format import rate, seconds
from flowsim.rendering.screen import facts, table
from flowsim.rendering.summary_text import (
    CLASS_COLUMNS,
    TTFT_COLUMNS,
    bounds_fact,
    class_rows,
    client_rows,
    further_facts,
    offered,
    scheduler_facts,
    ttft,
)


def run_report(summary: FullSummary, all_metrics: bool = False) -> RenderableType:
    """One screen about one run; with all metrics, also what goodput is not, and the shares of time."""
    head = facts(head_facts(summary, [("policy", summary["policy"])]))
    more: list[RenderableType] = [Text(), facts(further_facts(summary))] if all_metrics else []
    clients: list[RenderableType] = (
        [Text(), _rows(("client", *CLASS_COLUMNS[1:]), client_rows(summary))] if summary["clients"] else []
    )
    classes = _rows(CLASS_COLUMNS, class_rows(summary))
    return Group(head, Text(), classes, *clients, Text(), facts(scheduler_facts(summary)), *more)


def compare_report(summaries: Mapping[str, FullSummary], all_metrics: bool = False) -> RenderableType:
    """One screen about several policies on the same requests; `summaries` by the name of the policy."""
    first = next(iter(summaries.values()))
    more: list[RenderableType] = [Text(), _further(summaries)] if all_metrics else []
    head = facts(head_facts(first, bounds_fact(summaries.values())))
    return Group(head, Text(), _policies(summaries), Text(), _attained(summaries), *more)


def head_facts(summary: Summary, more: Iterable[tuple[str, str]] = ()) -> Iterator[tuple[str, str]]:
    """What was replayed, on which costs, for which SLOs."""
    inputs = summary["inputs"]
    yield "trace", f"{inputs['trace']}: {number_of(summary['requests'], 'request')}, {offered(summary)}"
    for notice in inputs["trace_notices"]:
        yield "", notice
    if summary["requests"] == summary["rejected"]:
        yield (
            "warning",
            "every request was rejected, by the policy or by the limits of the KV cache and the model's context",
        )
    yield from more
    if inputs["prefix_cache"] != "none":
        yield "prefixes", f"{inputs['prefix_cache']} cache: {percent(inputs['cached_share'])} of input tokens cached"
    yield "costs", cost_line(inputs)
    for source in inputs["cost_model_sources"]:
        yield "", source
    if prompts := inputs.get("extrapolated"):
        yield "", f"{number_of(prompts, 'prompt')} beyond the measured sizes: extrapolated"
    yield "SLOs", inputs["slo"]


def _rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """One row per class or client."""
    made = table(*columns)
    for row in rows:
        made.add_row(*row)
    return made


def _policies(summaries: Mapping[str, Summary]) -> Table:
    """One row per policy."""
    made = table("policy", "attained", "goodput", "TTFT p50", "p90", "p99", "blocking mean", "max", "preempted", "use")
    for name, summary in summaries.items():
        blocking = summary["blocking_s"]
        made.add_row(
            name,
            percent(summary["attainment"]),
            rate(summary["goodput_rps"]),
            *(ttft(summary, part) for part in TTFT_COLUMNS),
            *(seconds(blocking[key]) for key in ("mean", "max")),
            f"{summary['preemptions']:,}",
            percent(summary["utilization"]),
        )
    return made


def _attained(summaries: Mapping[str, FullSummary]) -> Table:
    """One row per policy: the attainment of each class, its share of the bound, and what was never served."""
    numbers = [name for name in ("counted", "undecided", "unfinished", "rejected") if name in _told(summaries)]
    bounded = any(summary["bound"] for summary in summaries.values())
    made = table("attained", *next(iter(summaries.values()))["classes"], *(["of bound"] if bounded else []), *numbers)
    for name, summary in summaries.items():
        shares = [percent(metrics["attainment"]) for metrics in summary["classes"].values()]
        shares += [percent(summary["bound"] and summary["bound"]["share"])] if bounded else []
        made.add_row(name, *shares, *(f"{summary[number]:,}" for number in numbers))
    return made


def _told(summaries: Mapping[str, Summary]) -> set[str]:
    """Which numbers of requests are told: those that count and are undecided only where a stop left some undecided."""
    undecided = any(summary["undecided"] for summary in summaries.values())
    return {"unfinished", "rejected"} | ({"counted", "undecided"} if undecided else set())


def _further(summaries: Mapping[str, Summary]) -> Table:
    """One row per policy: attained requests per second of other spans than arrivals', and the shares of time."""
    made = table(
        "further",
        "attained, observed",
        "with drain",
        "observed",
        "queueing",
        "service",
        "paused",
        "check",
        "schedulers deciding",
    )
    for name, summary in summaries.items():
        made.add_row(
            name,
            rate(summary["attained_observed_rps"]),
            rate(summary["attained_with_drain_rps"]),
            seconds(summary["span_s"]),
            percent(summary["queueing_share"]),
            percent(summary["service_share"]),
            percent(summary["paused_share"]),
            percent(summary["check_share"]),
            percent(summary["control_share"]),
        )
    return made


def errors_report(
    error: Mapping[str, Mapping[str, float]], corrected: Mapping[str, Mapping[str, float]] | None = None
) -> RenderableType:
    """By how much a cost model differs from each kind of pass that was measured and not fitted.

    Args:
        error: by kind of pass: how many passes, and the median and the largest error.
        told: the same for the model told of this GPU's speed.
    """
    more = ("at this GPU's speed: median", "largest") if corrected else ()
    made = table("measured passes, not fitted", "passes", "median error", "largest error", *more)
    for kind, errors in error.items():
        both = [errors, corrected[kind]] if corrected else [errors]
        made.add_row(
            kind, str(errors["passes"]), *(percent(errors[key], 2) for errors in both for key in ("median", "max"))
        )
    return made


def models_report(rows: Iterable[tuple[str, str, int, str, str]]) -> RenderableType:
    """One row per table: its GPU, model and tensor-parallel degree, its kind and its error."""
    made = table("gpu", "model", "tp", "kind", "error")
    for column in made.columns:
        column.justify = "left"
    for row in rows:
        made.add_row(*map(str, row))
    return made


def definitions_report(common: Iterable[str], tables: Mapping[str, Iterable[tuple[str, str, str]]]) -> RenderableType:
    """The metrics by file, each with its name, meaning and formula, after what all have in common."""
    parts: list[RenderableType] = [Text(paragraph) for paragraph in common]
    for title, rows in tables.items():
        made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for column in (title, "what it is", "formula"):
            made.add_column(column, overflow="fold")
        for row in rows:
            made.add_row(*row)
        parts += [Text(), made]
    return Group(*parts)


def tradeoff_report(rows: Iterable[Mapping[str, Any]]) -> RenderableType:
    """What each way of preempting costs the long prompt, and how long it blocks the short one."""
    made = table("preemption", "long prompt alone", "more than whole", "blocking mean", "p99", "max")
    for row in rows:
        blocking = (seconds(row[key]) for key in ("mean_s", "p99_s", "max_s"))
        made.add_row(row["preemption"], seconds(row["solo_s"]), percent(row["solo_more"], sign="+"), *blocking)
    return made
