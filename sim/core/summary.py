"""The types of a summary, as `RunResult.summary` holds it, and of summary.json, which adds the clairvoyant bound.

`flowsim.results.definitions.summary_json` says what each entry means. A number is None where the run has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

Quantiles = Mapping[str, float | None]
"""Mean, percentiles ("p50") and maximum ("max") of a time, seconds; None where infinite, or if there is no value."""


class Ttft(TypedDict):
    """Quantiles of the TTFT, and times that they exceed where they are infinite."""

    ttft_s: Quantiles
    ttft_exceeds_s: Quantiles


class TtftParts(TypedDict):
    """The shares of queueing, service and pauses in the TTFT."""

    queueing_share: float | None
    service_share: float | None
    paused_share: float | None


class DeviceTime(TypedDict):
    """How the devices and their schedulers spent the observed time."""

    preemptions: int
    utilization: float | None
    check_share: float | None
    control_share: float | None
    deciding_share: float | None
    hand_over_share: float | None
    idle_share: float | None
    decisions: int


class BoundSummary(TypedDict):
    """The clairvoyant bound of the workload, and the attainment as a share of it."""

    upper: float
    lower: float
    hopeless: int
    share: float | None


class GroupSummary(Ttft):
    """The metrics of the requests of one class or client; `ttft_slo_s` is their smallest SLO."""

    requests: int
    undecided: int
    counted: int
    ttft_slo_s: float | None
    ttft_slo_max_s: float | None
    attainment: float | None
    goodput_rps: float | None
    offered_rps: float | None


class Inputs(TypedDict, total=False):
    """Where a run comes from; besides these, the options of the run by keyword. Of evidence, the cost model alone."""

    trace: str
    trace_sha256: str
    trace_notices: Sequence[str]
    cost_model: str
    cost_model_sha256: str | None
    cost_model_kind: str | None
    cost_model_stated_error: float | None
    cost_model_error: Mapping[str, Mapping[str, float]] | None
    cost_model_factors: Mapping[str, Any] | None
    cost_model_leave_one_out: Mapping[str, Mapping[str, float]] | None
    cost_model_sources: Sequence[str]
    extrapolated: int | None
    slo: str
    concurrency: int | None
    prefix_cache: str
    server: Mapping[str, Any]
    cached_share: float
    version: str


class Summary(Ttft, TtftParts, DeviceTime):
    """The metrics of a run."""

    policy: str
    attainment: float | None
    goodput_rps: float | None
    attained_observed_rps: float | None
    attained_with_drain_rps: float | None
    offered_rps: float | None
    requests: int
    in_warmup: int
    without_slo: int
    undecided: int
    counted: int
    finished: int
    unfinished: int
    rejected: int
    blocking_s: Quantiles
    queueing_s: Quantiles
    service_s: Quantiles
    paused_s: Quantiles
    longest_wait_s: float | None
    span_s: float
    classes: Mapping[str, GroupSummary]
    clients: Mapping[str, GroupSummary]
    inputs: Inputs


class FullSummary(Summary):
    """The metrics of a run, and the clairvoyant bound of its workload."""

    bound: BoundSummary | None
    no_bound: str | None
