"""What requests are promised: SLOs of their own, targets, and classes drawn in shares."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowsim
from flowsim.core.order import Fixed
from flowsim.core.passes import Pass
from flowsim.core.policy import View
from flowsim.core.request import Request
from flowsim.errors import InputError
from flowsim.runs.options import from_values
from flowsim.runs.prepare import Given, Prepared, prepare
from flowsim.runs.slos import with_drawn_classes
from flowsim.traces import Trace, write_trace
from support.cli import done
from support.costs import pencil

NONE = math.nan


def own(*slo_s: float, **columns: Any) -> Trace:
    """Requests a second apart with these SLOs of their own."""
    return Trace.of(range(len(slo_s)), [100] * len(slo_s), slo_s=slo_s, name="own", **columns)


def prepared(trace: Trace, **values: Any) -> Prepared:
    by_path = {path.replace("__", "."): value for path, value in values.items()}
    return prepare(from_values({"trace": "t", "predictor": "exact", **by_path}), Given(trace, cost=pencil()))


# classes


def test_one_of_several_classes_is_not_called_all() -> None:
    said = "class 'all': has the name of all classes together; expected another name"
    for classes in (["all", "chat"], ["chat", "all"], ["all", None]):
        with pytest.raises(InputError, match=f"^trace: request {classes.index('all')}: {said}$"):
            prepared(Trace.of([0, 1], [100, 100], classes=classes), slo__mix=1)
    assert prepared(Trace.of([0, 1], [100, 100], classes=["all"] * 2), slo__mix=1).slo.class_names == ("all",)


# SLOs of their own


def test_requests_keep_the_slo_that_the_trace_gives_them_and_the_rest_take_the_models() -> None:
    slo = prepared(own(0.1, 3, NONE)).slo
    assert slo.ttft_slo_s.tolist() == [0.1, 3, 0.25]
    assert slo.rule == (
        "of each request, from the trace: 0.1 s to 3 s; 1 without one: "
        "llama3-8b: by input length: <=1k 0.25 s, <=4k 0.5 s, <=16k 4 s, >16k 6 s"
    )


def test_a_model_of_which_nothing_is_known_leaves_the_rest_without() -> None:
    slo = prepared(own(0.1, 0.1, NONE), model="own").slo
    np.testing.assert_array_equal(slo.ttft_slo_s, [0.1, 0.1, NONE])
    assert slo.rule == "of each request, from the trace: 0.1 s; 1 without one: no SLO"
    assert slo.class_names == ("all",)


def test_the_traces_slos_alone() -> None:
    slo = prepared(own(0.1, 3, NONE, classes=["a", "b", "a"]), slo="trace", slo__scale=2).slo
    np.testing.assert_array_equal(slo.ttft_slo_s, [0.2, 6, NONE])
    assert (slo.class_names, slo.class_code.tolist()) == (("a", "b"), [0, 1, 0])
    assert slo.rule == "of each request, from the trace: 0.2 s to 6 s; 1 without one: no SLO (x 2)"
    with pytest.raises(InputError, match=r"example: gives none of its requests an SLO; expected a trace with .*slo_s"):
        prepared(flowsim.example_trace(), slo="trace")


def test_a_mix_that_is_asked_for_goes_before_unless_it_leaves_them_theirs() -> None:
    trace = own(0.1, 3, NONE)
    assert prepared(trace, slo=1).slo.ttft_slo_s.tolist() == [1, 1, 1]
    mix = {"ttft_s": {"*": 1}, "from_trace": True}
    assert prepared(trace, slo=mix).slo.ttft_slo_s.tolist() == [0.1, 3, 1]


def test_the_written_options_give_the_same_slos_again() -> None:
    trace = own(0.1, 3, NONE)
    ready = prepared(trace, slo__scale=3)
    again = prepare(ready.options, Given(trace, cost=pencil()))
    assert again.options == ready.options
    assert again.slo.ttft_slo_s.tolist() == ready.slo.ttft_slo_s.tolist() == [0.1 * 3, 9, 0.75]


def test_what_the_trace_says_of_a_request_reaches_policies() -> None:
    trace = own(1, 2, 3, priority=[2, 0, -1], clients=["a", None, "b"], output_length=[7, 0, 1])
    ready = prepared(trace)
    assert [(one.priority, one.client, one.output_length) for one in ready.requests()] == [
        (2, "a", 7),
        (0, "", 0),
        (-1, "b", 1),
    ]
    plain = Request(0, 0.0, 1, 1.0)
    assert (plain.priority, plain.client, plain.output_length) == (0, "", 0)


class Urgent:
    """The highest priority first."""

    cut, wake = "none", "events"

    def choose(self, view: View) -> Any:
        first = view.first(URGENCY)
        return Pass.whole(first) if isinstance(first, Request) else first


URGENCY = Fixed(lambda candidate: -candidate.priority)


def test_a_policy_may_rank_by_priority() -> None:
    """Three arrive while the first runs; on the pencil, 10 tokens take 10 s."""
    trace = Trace.of([0, 1, 2, 3], [10] * 4, priority=[0, 0, 5, 1])
    result = flowsim.run(trace, Urgent(), cost=pencil(), slo=99, predictor="exact")
    assert np.argsort(result.requests["finished_s"]).tolist() == [0, 2, 3, 1]


def test_results_have_priorities_clients_and_the_range_of_slos() -> None:
    trace = own(0.001, 500, NONE, 500, priority=[1, 0, 0, 0], clients=["a", "b", "b", None])
    result = flowsim.run(trace, "fcfs", cost=pencil(), slo="trace", predictor="exact")
    assert result.requests["priority"].tolist() == [1, 0, 0, 0]
    assert result.requests["client"].astype(object).where(lambda client: client.notna(), "-").tolist() == [*"abb", "-"]
    every, (b, a) = result.summary["classes"]["all"], result.summary["clients"].values()
    assert list(result.summary["clients"]) == ["b", "a"]  # those with most requests first
    assert (every["ttft_slo_s"], every["ttft_slo_max_s"], every["attainment"]) == (0.001, 500, 2 / 3)
    assert (a["requests"], a["counted"], a["attainment"], a["ttft_slo_s"]) == (1, 1, 0, 0.001)
    assert (b["requests"], b["counted"], b["attainment"], b["goodput_rps"]) == (2, 1, 1, 1 / 4)
    assert result.attainment(by="client").to_dict() == {"a": 0, "b": 1}


def test_a_bad_value_names_the_file_the_row_and_the_field(tmp_path: Path) -> None:
    for field, value, expected in (
        ("slo_s", 0, "a finite number of seconds > 0 and <= 2\\*\\*40, or null, got 0"),
        ("slo_s", "fast", "a finite number of seconds > 0 and <= 2\\*\\*40, or null, got 'fast'"),
        ("priority", 1.5, "a whole number from .*, got 1.5"),
        ("client", 3, "a non-empty Unicode string or null, got 3"),
        ("class", "", "a non-empty Unicode string or null, got ''"),
        ("output_length", -1, "a whole number of tokens from 0 .*, got -1"),
    ):
        rows = [{"arrival_s": 0, "input_length": 1}, {"arrival_s": 1, "input_length": 1, field: value}]
        path = tmp_path / "t.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with pytest.raises(InputError, match=f"t.jsonl: line 2: {field} must be {expected}$"):
            flowsim.run(path, "fcfs")


# Targets and shares


def test_targets_stand_in_place_of_the_mixs() -> None:
    classed = Trace.of([0, 1], [5, 5000], classes=["text", "file"])
    assert prepared(classed, slo__targets__text=0.1).slo.ttft_slo_s.tolist() == [0.1, 6]
    plain = Trace.of([0, 1], [5, 5000])
    assert prepared(plain, slo__targets__text=0.1).slo.ttft_slo_s.tolist() == [0.1, 4]  # its bands follow
    own_classes = Trace.of([0, 1], [5, 5000], classes=["chat", "batch"])
    targets = {"slo__targets": {"chat": 1, "batch": 9}, "slo__scale": 2}
    assert prepared(own_classes, **targets).slo.ttft_slo_s.tolist() == [2, 18]
    file = prepared(own_classes, slo={"chat": 3, "*": 7}, slo__targets__chat=1)
    assert file.slo.ttft_slo_s.tolist() == [1, 7]
    assert prepare(file.options, Given(own_classes, cost=pencil())).slo.ttft_slo_s.tolist() == [1, 7]


def test_shares_are_drawn_whatever_classes_the_trace_has() -> None:
    slo = prepared(flowsim.example_trace(), slo={"chat": 0.5, "batch": 20}, slo__shares__chat=0.25).slo
    assert slo.class_names == ("chat", "batch")
    assert (slo.class_code == 0).mean() == pytest.approx(0.25, abs=0.06)
    assert slo.rule.endswith("by class: chat 0.5 s, batch 20 s; classes drawn in shares chat 0.25, batch 0.75 (seed 0)")


def test_what_shares_leave_is_for_the_other_classes() -> None:
    trace = Trace.of(range(9), [1] * 9)
    text = prepared(trace, slo__shares__text=0.4).slo
    assert "shares text 0.4, image 0.2, search 0.2, file 0.2 (" in text.rule
    rest = prepared(trace, slo="text=1,*=4", slo__shares="text=.4").slo
    assert "shares text 0.4, rest 0.6 (" in rest.rule
    assert set(rest.ttft_slo_s.tolist()) == {1.0, 4.0}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"slo": {"a": 1}, "slo__shares": {"a": 0.2}}, "sum of the shares must be 1, since .*no other class, got 0.2"),
        ({"slo": "a=1,b=2", "slo__shares": "a=.8,b=.5"}, "sum of the shares must be > 0 and <= 1 .*, got 1.3"),
        ({"slo": "a=1,b=2", "slo__shares": "a=2"}, "sum of the shares must be .* each of several >= 1.*, got 2.0"),
        (
            {"slo": "a=1,b=2", "slo__shares": "a=1.5,b=.2"},
            "sum of the shares must be .* each of several >= 1.*, got 1.7",
        ),
        ({"slo": "a=1,b=2", "slo__shares": "a=1,b=.5"}, "sum of the shares must be .* each of several >= 1.*, got 1.5"),
        ({"slo": "a=1,b=2", "slo__shares": "a=0,b=3"}, "sum of the shares must be .* each of several >= 1.*, got 3.0"),
        ({"slo": "a=1,b=2", "slo__shares": "a=0,b=0"}, "sum of the shares must be > 0 .*, got 0"),
        ({"slo": {"ttft_s": {"a": 1}, "by": "class"}, "slo__shares": "a=1"}, "shares: have no effect, as .* by class"),
        ({"slo": "a=1,b=2", "slo__shares": "c=.8"}, "unknown class 'c' in the shares .*"),
    ],
)
def test_shares_that_make_no_sense(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepared(Trace.of(range(9), [1] * 9), **values)


weights = st.floats(0.01, 10)


@given(st.lists(weights, min_size=2, max_size=5), st.floats(1, 50), st.integers(0, 4), st.integers(0, 99))
def test_the_requests_of_a_class_stay_its_own_as_its_share_grows(
    shares: list[float], factor: float, grown: int, seed: int
) -> None:
    trace, k = Trace.of(range(200), [1] * 200), grown % len(shares)
    before = {f"c{i}": share for i, share in enumerate(shares)}
    after = before | {f"c{k}": shares[k] * factor}
    some, others = (with_drawn_classes(trace, drawn, seed).class_code for drawn in (before, after))
    moved = some != others
    assert (others[moved] == k).all()
    assert (some[moved] != k).all()


def test_a_draw_is_in_proportion() -> None:
    codes = with_drawn_classes(Trace.of(range(20_000), [1] * 20_000), {"a": 3, "b": 0, "c": 1}, 1).class_code
    assert np.bincount(codes, minlength=3) / 20_000 == pytest.approx([0.75, 0, 0.25], abs=0.01)


# In a study


def test_mixes_are_axes_and_their_values_are_the_labels() -> None:
    study = {
        "run": {"trace": "synthetic:azure-code:40", "policy": "fcfs", "slo": {"chat": 0.5, "batch": 20}},
        "axes": {"slo.shares.chat": [0.2, 0.5], "slo.targets.chat": [0.3, 0.6]},
    }
    table = flowsim.sweep(study, workers=1).table
    assert table["slo.shares.chat"].tolist() == [0.2, 0.2, 0.5, 0.5]
    assert table["slo.targets.chat"].tolist() == [0.3, 0.6, 0.3, 0.6]
    assert table["ttft_slo_s_chat"].tolist() == [0.3, 0.6] * 2
    assert table["requests_chat"].iloc[0] < table["requests_chat"].iloc[2]
    assert (table["requests_chat"] + table["requests_batch"] == 40).all()
    mixes = {"run": {"trace": "example", "workload.limit": 9}, "axes": {"slo": [{"text": 0.25, "*": 4}, "text=1,*=4"]}}
    assert flowsim.sweep(mixes, workers=1).table["slo.mix"].tolist() == ["text=0.25,*=4", "text=1,*=4"]


def test_a_wrong_mix_is_blamed_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("run: {trace: example}\naxes:\n  slo:\n  - {text: 1}\n  - {text: x}\n")
    with pytest.raises(InputError, match=r"line 5: axes slo #2: slo.mix.text must be a number > 0, got 'x'"):
        flowsim.sweep(str(path))
    path.write_text("run:\n  trace: example\n  slo: {text: x}\n")
    with pytest.raises(InputError, match=r"study.yaml: .*slo.mix.text must be a number > 0, got 'x'"):
        flowsim.sweep(str(path))


def test_the_screen_shows_clients_and_ranges(tmp_path: Path) -> None:
    write_trace(own(0.2, 3, NONE, clients=["a", "b", "b"]), tmp_path / "t.jsonl")
    said = done("run", str(tmp_path / "t.jsonl"), "--policy", "fcfs")
    assert "of each request, from the trace: 0.2 s to 3 s; 1 without one: llama3-8b" in " ".join(said.split())
    assert "client  counted" in said
