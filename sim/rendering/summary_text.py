"""The summary of a run as rows of text, which the screen and the notebook both show."""

from __future__ import annotations

from collections.abc import Iterable

from flowsim.core.summary import FullSummary, GroupSummary, Summary
from flowsim.io.counts import percent
from flowsim.rendering.format import rate, seconds

CLASS_COLUMNS = ("class", "counted", "SLO", "attained", "goodput", "TTFT p50", "p90", "p99", "max")


TTFT_COLUMNS = ("p50", "p90", "p99")


def class_rows(summary: Summary) -> list[tuple[str, ...]]:
    """One row per request class, after one for all requests unless that is a class; the columns are CLASS_COLUMNS."""
    rows = [_row(name, group, slo_text(group)) for name, group in summary["classes"].items()]
    return rows if list(summary["classes"]) == ["all"] else [_row("all", summary, ""), *rows]


def client_rows(summary: Summary) -> list[tuple[str, ...]]:
    """One row per client, those with the most requests first, under the same columns."""
    return [_row(name, client, slo_text(client)) for name, client in summary["clients"].items()]


def slo_text(metrics: GroupSummary) -> str:
    """The TTFT SLO of a class or client, or the smallest and the largest."""
    least, most = metrics["ttft_slo_s"], metrics["ttft_slo_max_s"]
    return seconds(least) if least == most else f"{seconds(least)} to {seconds(most)}"


def _row(name: str, metrics: Summary | GroupSummary, slo: str) -> tuple[str, ...]:
    return (
        name,
        f"{metrics['counted']:,}",
        slo,
        percent(metrics["attainment"]),
        rate(metrics["goodput_rps"]),
        *(ttft(metrics, part) for part in (*TTFT_COLUMNS, "max")),
    )


def ttft(metrics: Summary | GroupSummary, part: str) -> str:
    """A quantile of the TTFT of a run or class: "> x" among requests that got no first token; "never" without an x."""
    if (time_s := metrics["ttft_s"][part]) is not None:
        return seconds(time_s)
    if (exceeded_s := metrics["ttft_exceeds_s"][part]) is not None:
        return f"> {seconds(exceeded_s)}"
    return "never" if metrics["counted"] else "-"


def scheduler_facts(summary: FullSummary) -> list[tuple[str, str]]:
    """What the scheduler and the device did, and what became of the requests: names and values."""
    blocking = summary["blocking_s"]
    times = ", ".join(f"{key} {seconds(blocking[key])}" for key in ("p50", "p99", "max"))
    return [
        *bound_fact(summary),
        ("preemptions", f"{summary['preemptions']:,}; blocking time {times}"),
        (
            "device",
            f"used {percent(summary['utilization'])} (checks {percent(summary['check_share'])}), hand-overs "
            f"{percent(summary['hand_over_share'])}, deciding {percent(summary['deciding_share'])}, idle "
            f"{percent(summary['idle_share'])}",
        ),
        (
            "requests",
            f"unfinished {summary['unfinished']:,}, rejected {summary['rejected']:,}; longest wait "
            f"{seconds(summary['longest_wait_s'])}",
        ),
        *uncounted_facts(summary),
    ]


def bound_fact(summary: FullSummary) -> list[tuple[str, str]]:
    """How near the attainment is to what any scheduler could attain, or why that is not stated, if it was asked for."""
    bound, missing = summary["bound"], summary["no_bound"]
    if bound is None:
        return [("bound", f"none stated: {missing}")] if missing else []
    within = f"optimum within [{percent(bound['lower'])}, {percent(bound['upper'])}]"
    return [("bound", f"{percent(bound['share'])} of the clairvoyant bound ({within})")]


def bounds_fact(summaries: Iterable[FullSummary]) -> list[tuple[str, str]]:
    """What any scheduler could attain on requests that several policies served; the best of them is a lower bound."""
    first, *others = summaries
    bounds = [bound for summary in (first, *others) if (bound := summary["bound"]) is not None]
    if not bounds:
        return bound_fact(first)
    lower, upper = max(bound["lower"] for bound in bounds), bounds[0]["upper"]
    return [("bound", f"no scheduler attains more than {percent(upper)}; optimum >= {percent(lower)}")]


def uncounted_facts(summary: Summary) -> list[tuple[str, str]]:
    """The requests that do not count, if there are any."""
    numbers = (
        (summary["in_warmup"], "in the warm-up"),
        (summary["without_slo"], "without SLO"),
        (summary["undecided"], "undecided when stopped"),
    )
    said = [f"{number:,} {what}" for number, what in numbers if number]
    return [("not counted", ", ".join(said))] if said else []


def offered(summary: Summary) -> str:
    """The offered rate in words, or why there is none."""
    if concurrency := summary["inputs"].get("concurrency"):
        return f"closed loop of {concurrency}: arrivals differ by policy, no offered rate"
    if summary["requests"] == 1:
        return "no rate"
    rps = summary["offered_rps"]
    return "all at one instant, so no rate" if rps is None else f"{rate(rps)} offered"


def further_facts(summary: Summary) -> list[tuple[str, str]]:
    """The metrics that only --all-metrics shows; names and values."""
    parts = (
        f"queueing {percent(summary['queueing_share'])}",
        f"service {percent(summary['service_share'])}",
        f"paused {percent(summary['paused_share'])}",
    )
    which = "requests per second of the closed loop" if summary["inputs"].get("concurrency") else "offered rate"
    return [
        ("goodput", f"{rate(summary['goodput_rps'])}: attainment x {which}"),
        ("attained", f"{rate(summary['attained_observed_rps'])} of the observed {seconds(summary['span_s'])}"),
        ("", f"{rate(summary['attained_with_drain_rps'])} until the last completion, with the drain"),
        ("TTFT", f"{', '.join(parts)} (of those that finished)"),
    ]
