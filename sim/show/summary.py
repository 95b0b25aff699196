"""The summary of a run as rows of text, which the screen and the notebook both show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowsim.show.format import percent, rate, seconds

Summary = Mapping[str, Any]
"""The metrics of a run, as `RunResult.summary` has them."""
CLASS_COLUMNS = ("class", "requests", "SLO", "attained", "goodput", "TTFT p50", "p90", "p99", "max")


def class_rows(summary: Summary) -> list[tuple[str, ...]]:
    """One row per request class, after one for all requests; the columns are CLASS_COLUMNS."""
    rows = [("all", summary, "")]
    rows += [(name, metrics, seconds(metrics["ttft_slo_s"])) for name, metrics in summary["classes"].items()]
    return [
        (
            name,
            f"{metrics['requests']:,}",
            slo,
            percent(metrics["attainment"]),
            rate(metrics["goodput_rps"]),
            *(seconds(metrics["ttft_s"][key]) for key in ("p50", "p90", "p99", "max")),
        )
        for name, metrics, slo in rows
    ]


def scheduler_facts(summary: Summary) -> list[tuple[str, str]]:
    """What the scheduler and the device did, and what became of the requests: names and values."""
    blocking = summary["blocking_s"]
    times = ", ".join(f"{key} {seconds(blocking[key])}" for key in ("p50", "p99", "max"))
    return [
        ("preemptions", f"{summary['preemptions']:,}; blocking time {times}"),
        (
            "device",
            f"used {percent(summary['utilization'])} (checks {percent(summary['check_share'])} of that), hand-overs "
            f"{percent(summary['hand_over_share'])}, deciding {percent(summary['deciding_share'])}, idle "
            f"{percent(summary['idle_share'])}",
        ),
        (
            "requests",
            f"unfinished {summary['unfinished']:,}, rejected {summary['rejected']:,}, without SLO "
            f"{summary['without_slo']:,}; longest wait {seconds(summary['longest_wait_s'])}",
        ),
    ]
