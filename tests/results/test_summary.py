"""The summary of a run: every value by hand, and against counting one by one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.results import INPUTS, NEVER, by_hand, six

SUMMARY = {
    "policy": "fcfs",
    "attainment": 0.4,  # 2 of the 5 that have an SLO
    "goodput_rps": 0.2,  # 2 in the 10 s from the first arrival to the last completion
    "offered_rps": 1.0,  # 6 requests, 5 gaps, 5 s
    "requests": 6,
    "without_slo": 1,
    "counted": 5,
    "finished": 4,
    "unfinished": 1,
    "rejected": 1,
    "ttft_s": {"mean": 2.875, "p50": 3.0, "p90": 4.7, "p99": 4.97, "max": 5.0},
    "blocking_s": {"mean": 0.5, "p50": 0.5, "p99": 0.745, "max": 0.75},
    "preemptions": 4,
    "utilization": 0.25,  # 8 of 2 x 16 s
    "check_share": 0.1,
    "control_share": 0.01,
    "deciding_share": 0.01,  # 0.32 of 2 x 16 s
    "hand_over_share": 0.05,  # 0.6 s less 0.5 s after the end of the second instance
    "idle_share": 0.69,
    "decisions": 11,
    "queueing_s": {"mean": 3.0, "p50": 1.0, "p90": 8.0, "p99": 11.6, "max": 12.0},
    "service_s": {"mean": 1.625, "p50": 1.5, "p90": 2.7, "p99": 2.97, "max": 3.0},
    "paused_s": {"mean": 0.5, "p50": 0.5, "p90": 1.0, "p99": 1.0, "max": 1.0},
    "longest_wait_s": 12.0,  # of the one that was never launched
    "span_s": 10.0,
    "classes": {
        "text": {
            "requests": 3,
            "ttft_slo_s": 1.0,
            "attainment": 1 / 3,
            "goodput_rps": 0.1,
            "ttft_s": {"mean": 1.25, "p50": 1.25, "p90": 1.85, "p99": 1.985, "max": 2.0},
        },
        "file": {
            "requests": 2,
            "ttft_slo_s": 4.0,
            "attainment": 0.5,
            "goodput_rps": 0.1,
            "ttft_s": dict.fromkeys(("mean", "p50", "p90", "p99", "max"), 4.0),
        },
        "other": {
            "requests": 1,
            "ttft_slo_s": None,
            "attainment": None,
            "goodput_rps": 0.0,
            "ttft_s": dict.fromkeys(("mean", "p50", "p90", "p99", "max"), 5.0),
        },
    },
    "inputs": INPUTS,
}


def approx(value: object) -> object:
    """The same nested mapping, its numbers to within rounding."""
    if isinstance(value, dict):
        return {key: approx(inner) for key, inner in value.items()}
    return pytest.approx(value, rel=1e-12) if isinstance(value, float) else value


def test_every_figure_of_a_summary_by_hand() -> None:
    assert six().summary == approx(SUMMARY)
    assert list(six().summary) == list(SUMMARY)


times = st.floats(0, 1e3).map(lambda x: round(x, 3))
rows = st.lists(
    st.tuples(times, st.one_of(st.just(NEVER), times), st.one_of(st.just(NEVER), times), st.sampled_from("abc")),
    min_size=1,
    max_size=12,
)


@settings(deadline=None)
@given(rows)
def test_a_summary_is_what_counting_one_by_one_gives(drawn: list[tuple[float, float, float, str]]) -> None:
    drawn = [(arrival, arrival + took, slo, name) for arrival, took, slo, name in sorted(drawn, key=lambda r: r[0])]
    first = drawn[0][0]
    arrival, finished, slo, classes = (list(column) for column in zip(*drawn, strict=True))
    result = by_hand(arrival, [f - first for f in finished], slo, classes, stopped_s=4e3)
    expected = [slo_s == slo_s and end - start <= slo_s for start, end, slo_s, _ in drawn]
    close = [abs(end - start - slo_s) < 1e-9 for start, end, slo_s, _ in drawn]  # rounding decides these
    if not any(close):
        assert result.attained.tolist() == expected
    met, promised = result.attained, [s == s for s in slo]
    summary = result.summary
    assert summary["attainment"] == (sum(met) / sum(promised) if any(promised) else None)
    assert summary["finished"] + summary["unfinished"] + summary["rejected"] == len(drawn)
    assert sum(of["requests"] for of in summary["classes"].values()) == len(drawn)
    for name, of in summary["classes"].items():
        members = [i for i, other in enumerate(classes) if other == name and promised[i]]
        assert of["attainment"] == (sum(met[i] for i in members) / len(members) if members else None)
    if summary["goodput_rps"] is not None:
        total = sum(of["goodput_rps"] for of in summary["classes"].values())
        assert total == pytest.approx(summary["goodput_rps"])
    json.dumps(summary, allow_nan=False)
