"""A result: its table of requests, what it answers, and the files that it leaves."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import flowsim
from flowsim.errors import InputError
from flowsim.results.figure_data import ttft_distributions
from flowsim.results.quantiles import quantiles
from support.results import NEVER, by_hand, six


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
        "counted",
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
    assert series.to_dict() == pytest.approx({"text": 1 / 3, "file": 0.5})
    assert six().attainment() == 0.4


def test_ttft_by_share_is_of_the_requests_that_count() -> None:
    """0.5, 2, 4, never, never; the one without an SLO does not count."""
    assert [six().ttft(q) for q in (0, 0.25, 0.5, 0.75, 1)] == [0.5, 2.0, 4.0, math.inf, math.inf]


def test_ttft_by_share_leaves_out_the_warm_up_as_the_summary_does() -> None:
    result = replace(by_hand(range(6), [1, 2, 4, 5, 7, 9], [5] * 6), warmup=0.4)  # the first 2 of 6
    assert [result.ttft(q) for q in (0, 0.5, 1)] == [2.0, 2.5, 4.0]
    assert result.ttft(0.9) == result.summary["ttft_s"]["p90"]


def test_one_population_in_the_table_the_summary_and_the_figures() -> None:
    """From requests.parquet alone, with the column counted."""
    result = replace(six(), warmup=0.2)
    rows = result.requests[result.requests["counted"]]
    summary = result.summary
    assert summary["counted"] == len(rows) == 4
    assert summary["attainment"] == rows["attained"].mean() == result.attainment()
    assert summary["longest_wait_s"] == rows["queueing_s"].max()
    assert summary["queueing_s"] == quantiles(rows["queueing_s"].to_numpy(), (50, 90, 99))
    assert result.ttft(0.3) == np.quantile(rows["ttft_s"].fillna(np.inf), 0.3)
    assert ttft_distributions({"six": result})["six"].values.tolist() == sorted(rows["ttft_s"].dropna())
    for name, of in summary["classes"].items():
        members = rows[rows["class"] == name]
        assert of["counted"] == len(members)
        assert of["attainment"] == (members["attained"].mean() if len(members) else None)


def test_what_a_result_cannot_answer_is_refused() -> None:
    questions: list[tuple[Callable[[], object], str]] = [
        (lambda: six().ttft(2), "q must be a number from 0 to 1, got 2"),
        (lambda: six().ttft(NEVER), "q must be a number from 0 to 1, got nan"),
        (lambda: six().ttft("x"), "q must be a number from 0 to 1, got 'x'"),  # type: ignore[arg-type]
        (lambda: six().attainment(by="klass"), "by: unknown column of requests 'klass'; did you mean 'class'?"),
        (lambda: six().events, "events: were not kept; expected a run with events=True"),
        (lambda: six().save(""), "out must be a folder, got ''"),
    ]
    for ask, message in questions:
        with pytest.raises(InputError, match=f"^{re.escape(message)}"):
            ask()


def test_events_are_those_of_the_run() -> None:
    result = flowsim.run("example", "fcfs", limit=5, events=True)
    assert result.events is result.outcome.events
    assert [type(event).__name__ for event in result.events[0]].count("Arrived") == 5


def test_the_files_of_a_result(tmp_path: Path) -> None:
    folder = six().save(tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "requests.parquet", "summary.json"]
    assert json.loads((folder / "summary.json").read_text()) == six().full_summary
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
