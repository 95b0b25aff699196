"""The saved files of a run are read back whole, or refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import flowsim
from flowsim.errors import InputError
from flowsim.results.saved_files import is_share, stored_requests, stored_summary
from support.results import six


def test_shares_are_told_by_their_names() -> None:
    names = ("attainment_text", "check_share", "ttft_p99_s", "share_of_bound", "bound_attainment", "goodput_rps")
    assert [is_share(name) for name in names] == [True, True, False, True, True, False]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    flowsim.run("example", "fcfs", limit=40, rate_scale=8).save(tmp_path)
    return tmp_path


def changed(folder: Path, change: Callable[[Any], Any]) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    change(summary)
    (folder / "summary.json").write_text(json.dumps(summary))


def test_what_was_saved_is_read_back(saved: Path) -> None:
    assert stored_summary(saved)["requests"] == 40
    assert list(stored_requests(saved / "requests.parquet", ("id", "ttft_s"))) == ["id", "ttft_s"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda of: of.update(attainment=2.5), "attainment must be a share from 0 to 1, got 2.5"),
        (lambda of: of["classes"]["text"].update(attainment=-1), "classes.text.attainment must be a share from 0 to 1"),
        (lambda of: of.update(utilization=7), "utilization must be a share from 0 to 1, got 7.0"),
        (lambda of: of.pop("counted"), "is damaged: Object missing required field `counted`"),
        (lambda of: of.update(ttft_s=None), "is damaged: Expected `object`, got `null` - at `$.ttft_s`"),
        (lambda of: of["inputs"].pop("cost_model_kind"), "inputs: lacks cost_model_kind"),
        (
            lambda of: next(iter(of["inputs"]["cost_model_error"].values())).pop("median"),
            " lacks median; expected the summary of a run",
        ),
        (lambda of: of.clear(), "is damaged: Object missing required field"),
    ],
)
def test_a_summary_that_no_run_gives_is_refused(saved: Path, change: Callable[[Any], Any], message: str) -> None:
    changed(saved, change)
    with pytest.raises(InputError) as refused:
        stored_summary(saved)
    assert str(refused.value).startswith(f"{saved / 'summary.json'}: ") and message in str(refused.value)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("class", [1.5] * 40, "class: is a column of double; expected text"),
        ("class", ["text", None] * 20, "class: lacks 20 values; expected text"),
        ("state", [None] * 40, "state: lacks 40 values; expected text"),
        ("client", [b"\xff"] * 40, "client: is a column of binary; expected text"),
    ],
)
def test_columns_of_texts_hold_texts(saved: Path, name: str, values: list[object], said: str) -> None:
    path = saved / "requests.parquet"
    pd.read_parquet(path).assign(**{name: values}).to_parquet(path)
    with pytest.raises(InputError) as refused:
        stored_requests(path, (name,))
    assert str(refused.value) == f"{path}: {said}"


def test_a_missing_table_of_requests_is_named_once(saved: Path) -> None:
    path = saved / "requests.parquet"
    path.unlink()
    with pytest.raises(InputError) as refused:
        stored_requests(path, ("id",))
    assert str(refused.value) == f"{path}: there is no such file; expected the requests of a run"


@pytest.mark.parametrize("content", [b"", b"\0" * 4000, b"{}", b"PAR1 and no more", b"\xff\xfe"])
def test_a_damaged_table_of_requests_is_refused(saved: Path, content: bytes) -> None:
    (saved / "requests.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"requests\.parquet: cannot be read \(.*\); expected the requests of a run$"):
        stored_summary(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda of: of.update(attainment=0.5), "attainment 0.425; expected 0.5, as in summary.json"),
        (lambda of: of.update(goodput_rps=1.0), "goodput_rps 16.2"),
        (lambda of: of.update(preemptions=-1), "preemptions of 0 to 0 passes; expected -1, as in summary.json"),
        (lambda of: of.update(preemptions=1), "preemptions of 0 to 0 passes; expected 1, as in summary.json"),
        (lambda of: of.update(finished=39), "finished 40; expected 39, as in summary.json"),
        (lambda of: of["ttft_s"].update(p99=0.01), "ttft_s.p99 0."),
        (lambda of: of["queueing_s"].update(max=None), "queueing_s.max 0."),
        (lambda of: of["classes"]["text"].update(attainment=None), "classes.text.attainment 0.214"),
        (lambda of: of["classes"]["text"].update(counted=1), "classes.text.counted "),
        (lambda of: of["classes"].update(ghost=of["classes"]["text"]), "classes.ghost.requests 0; expected "),
        (lambda of: of["classes"].pop("text"), "classes.text.requests "),
    ],
)
def test_a_summary_that_was_altered_is_refused(saved: Path, change: Callable[[Any], Any], message: str) -> None:
    changed(saved, change)
    with pytest.raises(InputError) as refused:
        stored_summary(saved)
    assert str(refused.value).startswith(f"{saved / 'requests.parquet'}: has {message}")


def test_a_summary_agrees_with_its_requests_whatever_became_of_them(tmp_path: Path) -> None:
    """Rejected and undecided ones, a warm-up, requests without an SLO, and all at one instant."""
    slo = {"text": 0.25, "file": 6.0}
    for place, (policy, options) in enumerate(
        [
            ("early-reject", {"limit": 120, "rate_scale": 12, "warmup": 0.2}),
            ("fcfs", {"limit": 120, "rate_scale": 12, "until_s": 3, "slo": slo}),
            ("flowprefill", {"limit": 120, "rate_scale": 12, "warmup": 0.1, "until_s": 4}),
            ("fcfs", {"limit": 1}),
        ]
    ):
        result = flowsim.run("example", policy, **options)
        result.save(tmp_path / str(place))
        assert stored_summary(tmp_path / str(place)) == result.full_summary
    six().save(tmp_path / "six")
    assert stored_summary(tmp_path / "six") == six().full_summary


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("attained", None, "has no column attained"),
        ("counted", "yes", "expected true or false"),
        ("attained", np.nan, "attained: is a column of float64"),
        ("attained", True, "has attainment 1.0; expected 0."),
        ("counted", False, "has counted 0; expected 40, as in summary.json"),
    ],
)
def test_requests_that_disagree_with_the_summary_are_refused(
    saved: Path, column: str, values: object, message: str
) -> None:
    table = pd.read_parquet(saved / "requests.parquet")
    table = table.drop(columns=column) if values is None else table.assign(**{column: values})
    table.to_parquet(saved / "requests.parquet")
    with pytest.raises(InputError) as refused:
        stored_summary(saved)
    assert message in str(refused.value)
    with pytest.raises(InputError, match=r"requests\.parquet"):
        flowsim.bundle(saved, saved / "again.zip")
