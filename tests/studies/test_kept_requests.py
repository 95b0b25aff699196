"""Policies compared request by request, from the requests that a study kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

import flowsim
from flowsim.errors import InputError
from flowsim.studies.kept_requests import keeps_requests, request_differences
from flowsim.studies.study_text import study_report


def _said(runs: flowsim.Runs, against: Sequence[str] = ()) -> str:
    with (console := Console(width=120)).capture() as said:
        console.print(study_report(runs, against))
    return said.get()


def test_one_trace_is_compared_request_by_request_where_the_study_kept_them(tmp_path: Path) -> None:
    study: dict[str, Any] = {
        "run": {"trace": "example", "warmup": 0.1},
        "axes": {"policy": ["fcfs", "chunked:2048", "flowprefill"], "workload.rate_scale": [1, 5]},
    }
    without = " ".join(_said(flowsim.sweep(study, workers=1), ["fcfs"]).split())
    assert 'with "requests: true", policies are compared request by request' in without
    kept = flowsim.sweep({**study, "requests": True}, tmp_path / "out", workers=1)
    said = " ".join(_said(kept, ["fcfs"]).split())
    assert "Paired by request; 95 % intervals of a moving-block bootstrap" in said
    rows = request_differences(kept, kept.succeeded, "fcfs", ["workload.rate_scale"])
    alone = flowsim.compare("example", ["fcfs", "chunked:2048", "flowprefill"], rate_scale=5, warmup=0.1)
    expected = alone.differences("fcfs")
    found = rows[rows["workload.rate_scale"] == 5].drop(columns="workload.rate_scale").reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected)
    with pytest.raises(InputError, match="study: kept no requests; expected requests: true, and a folder"):
        request_differences(flowsim.sweep(study, workers=1), kept.succeeded, "fcfs")
    with pytest.raises(InputError, match="study: has several runs of a policy; expected one replication"):
        request_differences(kept, kept.succeeded, "fcfs")


def test_a_study_keeps_the_columns_that_it_names(tmp_path: Path) -> None:
    study = {"run": {"trace": "example"}, "axes": {"policy": ["fcfs", "edf"]}, "requests": ["attained", "client"]}
    runs = flowsim.sweep(study, tmp_path, workers=1)
    place = tmp_path / "requests" / f"{runs.table['key'][1][:16]}.parquet"
    kept = pd.read_parquet(place)
    assert list(kept) == ["attained"]  # this trace names no clients
    assert kept["attained"].tolist() == flowsim.run("example", "edf").attained.tolist()
    with pytest.raises(InputError, match=r"parquet: has no column counted; expected the requests of a run, with it"):
        request_differences(runs, runs.succeeded, "fcfs")
    assert keeps_requests(runs, "attained") and not keeps_requests(runs, "ttft_s", "counted")
    assert flowsim.sweep(study, tmp_path).new == 0
