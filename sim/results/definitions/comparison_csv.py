"""The columns of comparison.csv."""

from __future__ import annotations

from collections.abc import Sequence

from flowsim.results.definitions.definition import Definition
from flowsim.results.definitions.summary_json import BOUND_COLUMNS, CLASS, summary_columns

COMPARED = (
    "attainment", "goodput_rps", "ttft_p50_s", "ttft_p90_s", "ttft_p99_s", "blocking_mean_s", "blocking_p99_s",
    "preemptions", "utilization", "unfinished", "rejected",
)  # fmt: skip
"""The first columns of comparison.csv, which notebooks show; then come attainment_CLASS of each class, and FURTHER."""
FURTHER = (
    "undecided", "counted", "offered_rps", "attained_observed_rps", "attained_with_drain_rps", "ttft_exceeds_p50_s",
    "ttft_exceeds_p90_s", "ttft_exceeds_p99_s", "queueing_share", "service_share", "paused_share", "check_share",
    "hand_over_share", "deciding_share", "idle_share", "control_share", "bound_attainment", "share_of_bound",
)  # fmt: skip
"""The last columns of comparison.csv. All are columns of SUMMARY or of BOUND_COLUMNS."""


def compared(classes: Sequence[str] = ()) -> dict[str, Definition]:
    """The columns of comparison.csv; one row per policy."""
    known = summary_columns() | {definition.name: definition for definition in BOUND_COLUMNS}
    attained = next(definition for definition in CLASS if definition.name == "attainment")
    by_class = {f"attainment_{name}": attained for name in classes}
    return {name: known[name] for name in COMPARED} | by_class | {name: known[name] for name in FURTHER}
