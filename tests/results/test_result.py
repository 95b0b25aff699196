"""Results: every metric computed by hand, what each counts, and the files that a result leaves."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsim.core.ledger import Log
from flowsim.results.metrics import quantiles
from flowsim.show.format import percent
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


def test_one_request_met_on_the_dot_counts_and_one_just_late_does_not() -> None:
    late = math.nextafter(2.0, 3.0)
    assert by_hand([0, 0], [2.0, late], [2.0, 2.0]).attained.tolist() == [True, False]


def test_rejected_and_unfinished_requests_have_missed() -> None:
    assert by_hand([0, 0, 0], [1, NEVER, NEVER], [5, 5, 5], rejected=[1], stopped_s=1.0).summary["attainment"] == 1 / 3


def test_requests_without_an_slo_count_neither_way() -> None:
    result = by_hand([0, 1, 2], [1, 2, 9], [2, NEVER, 2])
    assert (result.summary["attainment"], result.summary["without_slo"]) == (0.5, 1)
    assert result.summary["goodput_rps"] == 1 / 9


def test_goodput_is_over_first_arrival_to_last_completion_whoever_completes_last() -> None:
    assert by_hand([0, 1], [1, 21], [5, 5]).summary["goodput_rps"] == 1 / 21
    assert by_hand([0, 1, 90], [1, 21, NEVER], [5, 5, 5], stopped_s=90.0).summary["goodput_rps"] == 1 / 21


def test_utilization_counts_the_time_after_the_last_completion_of_a_run_that_was_stopped() -> None:
    """A pass that is cut off has used the device, so its time belongs to both sides of the ratio."""
    stopped = by_hand([0, 0], [1, NEVER], [5, 5], logs=[Log(busy_s=10.0)], stopped_s=10.0)
    assert stopped.summary["utilization"] == 1.0
    finished = by_hand([0, 0], [1, 4], [5, 5], logs=[Log(busy_s=3.0)], stopped_s=10.0)
    assert finished.summary["utilization"] == 0.75


def test_nothing_finished() -> None:
    result = by_hand([0, 2], [NEVER, NEVER], [1, 1], started_s=[NEVER, NEVER], stopped_s=6.0)
    summary = result.summary
    assert (summary["attainment"], summary["goodput_rps"], summary["span_s"]) == (0.0, 0.0, 0.0)
    assert set(summary["ttft_s"].values()) == {None}
    assert set(summary["blocking_s"].values()) == {None}
    assert (summary["longest_wait_s"], summary["utilization"]) == (6.0, 0.0)
    assert math.isnan(result.ttft(0.5))


def test_a_single_request_offers_no_rate() -> None:
    assert by_hand([0], [1], [1]).summary["offered_rps"] is None


def test_without_any_slo_there_is_no_attainment() -> None:
    assert by_hand([0], [1], [NEVER]).summary["attainment"] is None
    assert repr(by_hand([0], [1], [NEVER])) == "RunResult(fcfs: 1 requests, - attained)"


def test_one_row_per_request() -> None:
    rows = six().requests
    assert list(rows.columns) == [
        "id",
        "class",
        "instance",
        "state",
        "input_tokens",
        "output_tokens",
        "arrival_s",
        "started_s",
        "finished_s",
        "ttft_s",
        "ttft_slo_s",
        "attained",
        "queueing_s",
        "service_s",
        "paused_s",
        "preemptions",
    ]
    assert rows["state"].tolist() == ["finished"] * 3 + ["rejected", "unfinished", "finished"]
    assert rows["attained"].tolist() == [True, False, True, False, False, False]
    np.testing.assert_array_equal(rows["queueing_s"], [0, 1, 0, NEVER, 12, 2])
    np.testing.assert_array_equal(rows["paused_s"], [0, 0, 1, NEVER, NEVER, 1])


def test_queueing_service_and_pauses_add_up_to_ttft() -> None:
    rows = six().requests.dropna(subset="ttft_s")
    assert (rows["queueing_s"] + rows["service_s"] + rows["paused_s"]).tolist() == rows["ttft_s"].tolist()


def test_attainment_by_class_is_a_series_of_those_that_have_an_slo() -> None:
    series = six().attainment(by="class")
    assert isinstance(series, pd.Series)
    assert series.to_dict() == approx({"text": 1 / 3, "file": 0.5})
    assert six().attainment() == 0.4


def test_ttft_by_share() -> None:
    assert [six().ttft(q) for q in (0, 0.5, 1)] == [0.5, 3.0, 5.0]


def test_ttft_by_share_leaves_out_the_warm_up_as_the_summary_does() -> None:
    result = replace(six(), warmup=0.4)  # the first 2 of 6
    assert [result.ttft(q) for q in (0, 0.5, 1)] == [4.0, 4.5, 5.0]
    assert result.ttft(0.9) == result.summary["ttft_s"]["p90"]


def test_queueing_is_the_same_in_the_summary_and_by_request_when_a_run_was_stopped() -> None:
    """One request was never launched: it has waited until the end of the run."""
    result = six()
    assert result.requests["queueing_s"].max() == result.summary["queueing_s"]["max"] == 12.0
    assert quantiles(result.requests["queueing_s"].to_numpy(), (50, 90, 99)) == result.summary["queueing_s"]


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


def test_quantiles_interpolate_and_pass_over_what_never_was() -> None:
    assert quantiles(np.array([4.0, NEVER, 1.0]), (50, 90)) == {"mean": 2.5, "p50": 2.5, "p90": 3.7, "max": 4.0}
    assert quantiles(np.array([NEVER]), (50,)) == {"mean": None, "p50": None, "max": None}


def test_percent() -> None:
    assert [percent(share) for share in (None, 0.0, 0.12345, 1.0)] == ["-", "0.0 %", "12.3 %", "100.0 %"]


# Files.


def test_the_files_of_a_result(tmp_path: Path) -> None:
    folder = six().save(tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "requests.parquet", "summary.json"]
    assert json.loads((folder / "summary.json").read_text()) == approx(SUMMARY)
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "requests.parquet"), six().requests)
    assert yaml.safe_load((folder / "config.yaml").read_text()) == {"trace": "by hand"}


def test_no_file_holds_nan(tmp_path: Path) -> None:
    result = by_hand([0, 2], [NEVER, NEVER], [1, NEVER], started_s=[NEVER, NEVER], stopped_s=6.0)
    text = (result.save(tmp_path / "out") / "summary.json").read_text()
    assert not {"NaN", "Infinity"} & set(text.replace(",", " ").split())
    json.loads(text, parse_constant=pytest.fail)


def test_the_same_result_leaves_the_same_bytes(tmp_path: Path) -> None:
    folders = [six().save(tmp_path / name) for name in ("first", "second")]
    for name in ("config.yaml", "requests.parquet", "summary.json"):
        first, second = ((folder / name).read_bytes() for folder in folders)
        assert first == second


def test_names_in_other_scripts_survive(tmp_path: Path) -> None:
    result = by_hand([0], [1], [2], ["κλάση"])
    assert "κλάση" in (result.save(tmp_path / "out") / "summary.json").read_text(encoding="utf-8")


def test_a_result_shows_itself_in_one_line() -> None:
    assert repr(six()) == "RunResult(fcfs: 6 requests, 40.0 % attained)"
