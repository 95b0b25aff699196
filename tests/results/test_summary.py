"""The summary of a run: every value by hand, and against counting one by one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.results import INPUTS, NEVER, by_hand, six

NONE = dict.fromkeys(("mean", "p50", "p90", "p99", "max"))
SUMMARY = {
    "policy": "fcfs",
    "attainment": 0.4,  # 2 of the 5 that have an SLO
    "goodput_rps": 1 / 3,  # of 1 request a second, of which 5 of 6 have an SLO
    "attained_observed_rps": 0.125,  # 2 in the 16 s from the first arrival to the stop
    "attained_with_drain_rps": 0.2,  # 2 in the 10 s from the first arrival to the last completion
    "offered_rps": 1.0,  # 6 requests, 5 gaps, 5 s
    "requests": 6,
    "in_warmup": 0,
    "without_slo": 1,
    "undecided": 0,
    "counted": 5,
    "finished": 4,
    "unfinished": 1,
    "rejected": 1,
    "ttft_s": NONE | {"p50": 4.0},  # 0.5, 2, 4, never, never
    "ttft_exceeds_s": {"mean": 6.1, "p50": None, "p90": 12.0, "p99": 12.0, "max": 12.0},  # from 4 s to the stop
    "blocking_s": {"mean": 0.5, "p50": 0.5, "p99": 0.745, "max": 0.75},
    "preemptions": 4,
    "utilization": 0.25,  # 8 of 2 x 16 s
    "check_share": 0.025,
    "control_share": 0.01,
    "deciding_share": 0.01,  # 0.32 of 2 x 16 s
    "hand_over_share": 0.05,  # 0.6 s less 0.5 s after the end of the second instance
    "idle_share": 0.69,
    "decisions": 11,
    "queueing_s": {"mean": 3.25, "p50": 0.5, "p90": 8.7, "p99": 11.67, "max": 12.0},  # 0, 1, 0, 12
    "service_s": {"mean": 1.5, "p50": 1.0, "p90": 2.6, "p99": 2.96, "max": 3.0},  # 0.5, 1, 3
    "paused_s": {"mean": 1 / 3, "p50": 0.0, "p90": 0.8, "p99": 0.98, "max": 1.0},  # 0, 0, 1
    "queueing_share": 1 / 6.5,
    "service_share": 4.5 / 6.5,
    "paused_share": 1 / 6.5,
    "longest_wait_s": 12.0,  # of the one that was never launched
    "span_s": 16.0,
    "classes": {
        "text": {
            "requests": 3,
            "undecided": 0,
            "counted": 3,
            "ttft_slo_s": 1.0,
            "ttft_slo_max_s": 1.0,
            "attainment": 1 / 3,
            "goodput_rps": 1 / 6,
            "offered_rps": 0.5,
            "ttft_s": NONE | {"p50": 2.0},  # 0.5, 2, never
            "ttft_exceeds_s": {"mean": 14.5 / 3, "p50": None, "p90": 10.0, "p99": 11.8, "max": 12.0},
        },
        "file": {
            "requests": 2,
            "undecided": 0,
            "counted": 2,
            "ttft_slo_s": 4.0,
            "ttft_slo_max_s": 4.0,
            "attainment": 0.5,
            "goodput_rps": 1 / 6,
            "offered_rps": 1 / 3,
            "ttft_s": NONE,  # 4, rejected
            "ttft_exceeds_s": dict.fromkeys(NONE, 4.0),
        },
        "other": {
            "requests": 1,
            "undecided": 0,
            "counted": 0,
            "ttft_slo_s": None,
            "ttft_slo_max_s": None,
            "attainment": None,
            "goodput_rps": None,
            "offered_rps": 1 / 6,
            "ttft_s": NONE,
            "ttft_exceeds_s": NONE,
        },
    },
    "clients": {},
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
    assert sum(one["requests"] for one in summary["classes"].values()) == len(drawn)
    for name, one in summary["classes"].items():
        members = [i for i, other in enumerate(classes) if other == name and promised[i]]
        assert one["attainment"] == (sum(met[i] for i in members) / len(members) if members else None)
    if summary["goodput_rps"] is not None:
        rate_rps = summary["offered_rps"]
        assert summary["goodput_rps"] == pytest.approx(sum(met) / len(drawn) * rate_rps, rel=1e-9)
        assert sum(one["offered_rps"] for one in summary["classes"].values()) == pytest.approx(rate_rps)
        assert sum(one["goodput_rps"] or 0 for one in summary["classes"].values()) == pytest.approx(
            summary["goodput_rps"]
        )
    json.dumps(summary, allow_nan=False)
