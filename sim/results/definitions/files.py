"""Every file of a run or study with its definitions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache

from flowsim.results.definitions.comparison_csv import compared
from flowsim.results.definitions.definition import Definition
from flowsim.results.definitions.requests_parquet import REQUESTS
from flowsim.results.definitions.runs_parquet import RUNS
from flowsim.results.definitions.summary_json import BOUND, CLASS, INPUTS, SUMMARY

POPULATION = (
    "Counted requests have an SLO, arrived after the warm-up, and are decided: finished, rejected, left behind when "
    "the replay ended by itself, or past their deadline when it was stopped. Attainment, goodput, TTFT, queueing, "
    "service, pauses and figures are of counted requests alone; what a stop leaves undecided is in no denominator. "
    "Differences of policies are over the requests that both count. "
    "What the devices and schedulers did is of the whole run.",
    'A request without a first token has an infinite TTFT. A quantile that falls among those is "> x" on the screen, '
    "null in summary.json with x in ttft_exceeds_s, and inf in tables. Quantiles are interpolated linearly.",
    "Without a rate, because all requests arrive at one instant, there is no goodput. The rate is that of all "
    "requests, also with a warm-up.",
)
"""What all metrics have in common."""


def tables() -> Mapping[str, Sequence[Definition]]:
    """Every file and part of a file with its definitions."""
    return {
        "summary.json": SUMMARY,
        "summary.json, each of classes": CLASS,
        "summary.json, bound": BOUND,
        "summary.json, inputs": INPUTS,
        "requests.parquet": REQUESTS,
        "comparison.csv": [Definition(name, one.meaning, one.formula) for name, one in compared(["CLASS"]).items()],
        "runs.parquet, besides options and summary": RUNS,
    }


def describe_metrics() -> dict[str, list[tuple[str, str, str]]]:
    """Every metric and column by file: its name, what it is, and its formula."""
    return {title: [(one.label, one.meaning, one.formula) for one in defined] for title, defined in tables().items()}


@cache
def digest() -> str:
    """SHA-256 of names and formulas: a stored run whose metrics were computed otherwise is run again."""
    formulas = [(place, one.name, one.formula) for place, definitions in tables().items() for one in definitions]
    return hashlib.sha256(repr(formulas).encode()).hexdigest()
