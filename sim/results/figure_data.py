"""The numbers that the figures of results show, computed before anything is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from flowsim.rendering.result_figures import ClassAttainment, Distribution
from flowsim.results.result import RunResult


def class_attainment(results: Mapping[str, RunResult]) -> ClassAttainment:
    """Attainment overall and by class, of results on the same requests."""
    return class_attainment_of({name: result.summary for name, result in results.items()})


def class_attainment_of(summaries: Mapping[str, Mapping[str, Any]]) -> ClassAttainment:
    """Attainment overall and by class, of the summaries of results on the same requests."""
    first = next(iter(summaries.values()))
    classes = [("all", None), *((name, _one_slo(group)) for name, group in first["classes"].items())]
    return ClassAttainment(classes, {name: _percent(summary) for name, summary in summaries.items()})


def _one_slo(metrics: Mapping[str, Any]) -> float | None:
    """The SLO of a class; None if it has none, or if those of its requests differ."""
    slo_s: float | None = metrics["ttft_slo_s"]
    return slo_s if slo_s == metrics["ttft_slo_max_s"] else None


def _percent(summary: Mapping[str, Any]) -> list[float]:
    shares = [summary["attainment"], *(group["attainment"] for group in summary["classes"].values())]
    return [math.nan if share is None else 100 * share for share in shares]


def ttft_distributions(results: Mapping[str, RunResult]) -> dict[str, Distribution]:
    """The distribution of TTFT, seconds, among the counted requests of each result."""
    return {name: Distribution.of(result.ttft_s[result.counted]) for name, result in results.items()}


def blocking_distributions(results: Mapping[str, RunResult]) -> dict[str, Distribution]:
    """The distribution of blocking times, seconds, among the preemptions of each result."""
    return {name: Distribution.of(result.blocking_s) for name, result in results.items()}
