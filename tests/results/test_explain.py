"""Why requests missed: parts that add up to the TTFT, and reasons worked out by hand. A token takes a second."""

from __future__ import annotations

from typing import Any

import pytest

import flowsim
from flowsim.core.passes import Decision, Pass
from flowsim.core.policy import View
from flowsim.core.server import ServerOptions
from flowsim.errors import InputError
from flowsim.rendering.reasons import REASONS, SERVABLE
from flowsim.results.explain import Explanation, explain
from support.costs import pencil, service
from support.explained import explained


def parts_of(why: Explanation, request: int) -> dict[str, float]:
    return {name: value for name, value in why.story(request).parts_s.items() if value > 1e-9}


QUEUE = ((0.0, 10, 100.0), (2.0, 3, 5.0), (3.0, 4, 9.0), (11.0, 2, 4.0), (30.0, 6, 5.0))


def test_without_cuts_the_long_pass_blocks_and_the_urgent_go_first() -> None:
    """Passes: request 0 until 10, 1 until 13, 2 until 17, 3 until 19, 4 from 30 to 36."""
    why = explained(QUEUE, "edf:cut=none")
    assert why.missed.tolist() == [1, 2, 3, 4]
    assert list(why.reasons) == ["blocked", "blocked", "earlier", "alone"]
    assert parts_of(why, 1) == pytest.approx({"alone": 3, "blocked": 8})
    assert parts_of(why, 2) == pytest.approx({"alone": 4, "blocked": 7, "earlier": 3})
    assert parts_of(why, 3) == pytest.approx({"alone": 2, "earlier": 6})
    assert {name: count for name, count in why.counts.items() if count} == {"alone": 1, "blocked": 2, "earlier": 1}
    assert why.by_class == {"text": why.counts}


def test_a_preempted_pass_waits_for_those_that_run_meanwhile() -> None:
    """SJF cuts every 2 s: request 0 runs until 4 and from 9 to 15, 1 from 4 to 9, 2 from 15 to 26."""
    why = explained([(0.0, 10, 12.0), (3.0, 5, 100.0), (5.0, 11, 15.0)], "sjf:cut=operator")
    assert list(why.reasons) == ["paused", "earlier"]
    assert parts_of(why, 0) == pytest.approx({"alone": 10, "paused": 5})
    assert parts_of(why, 2) == pytest.approx({"alone": 11, "blocked": 4, "earlier": 6})


def test_a_pass_blocks_from_its_signal_to_its_stop() -> None:
    why = explained([(0.0, 10, 100.0), (3.0, 1, 1.5)], "edf:cut=operator")
    assert list(why.reasons) == ["blocked"]
    assert parts_of(why, 1) == pytest.approx({"alone": 1, "blocked": 1})


def test_a_pass_that_is_due_at_the_same_time_counts_as_earlier() -> None:
    """Passes: request 0 until 5, 1 until 7, 2 until 15; 1 and 2 are due at 11."""
    why = explained([(0.0, 5, 100.0), (1.0, 2, 10.0), (1.0, 8, 10.0)], "edf:cut=none")
    assert parts_of(why, 2) == pytest.approx({"alone": 8, "blocked": 4, "earlier": 2})


def test_a_pass_that_began_later_blocks_once_it_is_told_to_stop() -> None:
    """Request 0 runs until 5; 2 until 6.6, told at 6 to stop for 3, which runs until 7.6; 2 until 14; 1 until 23."""
    rows = [(0.0, 5, 100.0), (1.0, 9, 20.0), (2.0, 8, 100.0), (6.0, 1, 100.0)]
    why = explained(rows, "sjf:cut=operator,batch_tokens=1")
    assert parts_of(why, 1) == pytest.approx({"alone": 9, "blocked": 4.6, "later": 8.4})


def test_a_shorter_prompt_that_is_due_later_goes_first() -> None:
    why = explained([(0.0, 5, 100.0), (1.0, 9, 20.0), (2.0, 8, 100.0)], "sjf:cut=none,batch_tokens=1")
    assert list(why.reasons) == ["later"]
    assert parts_of(why, 1) == pytest.approx({"alone": 9, "blocked": 4, "later": 8})
    spans = why.story(1).spans
    assert [(span.part, span.requests) for span in spans] == [("blocked", (0,)), ("later", (2,)), ("alone", ())]
    assert [span.began_s for span in spans] == pytest.approx([1, 5, 13])
    assert [span.lasted_s for span in spans] == pytest.approx([4, 8, 9])


def test_a_policy_that_sleeps_is_told_as_idle_time() -> None:
    why = explained([(0.0, 3, 5.0)], Sleeper())
    assert parts_of(why, 0) == pytest.approx({"alone": 3, "idle": 4})
    assert [span[:4] for span in why.story(0).spans] == [(0, 4, "idle", 4), (4, 7, "alone", 3)]
    assert list(why.story(0).rows())[1] == ("0.000 s", "4 s", "the device was idle")


class Sleeper:
    """Runs nothing before second 4."""

    cut, wake = "none", "events"

    def choose(self, view: View) -> Pass | Decision:
        return Decision(wake_at=4.0) if view.now < 4 else Pass.whole(*view.waiting)


def test_a_batch_takes_longer_than_each_of_it_alone() -> None:
    why = explained([(0.0, 3, 5.0), (0.0, 4, 100.0)], "fcfs")
    assert list(why.reasons) == ["batched"]
    assert parts_of(why, 0) == pytest.approx({"alone": 3, "batched": 4})
    (ran,) = why.story(0).spans
    assert (ran.part, ran.lasted_s, ran.requests) == ("alone", pytest.approx(7), (1,))


def test_decisions_and_hand_overs_may_be_the_reason() -> None:
    why = explained([(0.0, 3, 5.0)], "fcfs", cost=pencil(resume_s=1.0, decision=lambda seen: 2.0))
    assert list(why.reasons) == ["host"]
    assert parts_of(why, 0) == pytest.approx({"alone": 3, "host": 3})


def test_what_can_never_be_held_is_hopeless_as_the_bound_has_it() -> None:
    why = explained([(0.0, 10, 100.0), (1.0, 2, 100.0)], "fcfs", server=ServerOptions(block_tokens=1, kv_tokens=8))
    assert list(why.reasons) == ["hopeless"]
    assert (why.story(0).rejected, why.story(0).reason, why.story(1).reason) == (True, "hopeless", None)
    assert (why.story(0).servable, why.story(1).servable) == ("no", None)
    bound = why.result.bound
    assert bound is not None and bound.hopeless == why.counts["hopeless"]


def test_what_the_policy_turns_away_is_rejected() -> None:
    """At 10 request 1 can no longer be in time."""
    why = explained([(0.0, 10, 100.0), (1.0, 2, 5.0)], "fcfs:admission=hopeless")
    assert (list(why.reasons), why.servable) == (["rejected"], ["instead"])
    assert parts_of(why, 1) == pytest.approx({"blocked": 9})


def test_a_prompt_waits_between_its_chunks_and_is_not_preempted() -> None:
    """Up to 2 tokens of the shortest prompt: of 0 until 2, of 1 until 5, of 0 until 9."""
    why = explained([(0.0, 6, 8.0), (1.0, 3, 100.0)], Shortest())
    assert list(why.reasons) == ["between"]
    assert parts_of(why, 0) == pytest.approx({"alone": 6, "between": 3})
    assert [(span.part, span.requests) for span in why.story(0).spans] == [
        ("alone", ()),
        ("between", (1,)),
        ("alone", ()),
    ]


class Shortest:
    """Two tokens at a time of the prompt that has the fewest left."""

    cut, wake = "none", "events"

    def choose(self, view: View) -> Pass | None:
        there = [*view.started, *view.waiting]
        head = min(there, key=lambda request: (request.tokens, request.arrival_s), default=None)
        return None if head is None else Pass(((head, min(head.tokens, 2)),))


def test_a_request_that_ran_alone_was_not_batched() -> None:
    """A pass has five checks of 0.1 s beside the one at its end."""
    rows = [(0.0, 2, 2.3), (20.0, 1, 2.0), (20.0, 1, 100.0)]
    why = explained(rows, "edf:cut=operator,batching=order", cost=pencil(check_s=0.1))
    assert list(why.reasons) == ["slower", "batched"]
    assert parts_of(why, 0) == pytest.approx({"alone": 2.1, "slower": 0.5})
    assert parts_of(why, 1) == pytest.approx({"alone": 1.1, "batched": 1.5})


def test_the_stack_has_its_parts() -> None:
    """Request 1 is sent at 1, comes at 1.5, waits for 0 until 5.875 and runs until 8.25; its client knows at 8.375."""
    server = ServerOptions(block_tokens=1, frontend_s=0.5, host_s=0.25, host_request_s=0.125, return_s=0.125)
    why = explained([(0.0, 5, 100.0), (1.0, 2, 3.0)], "fcfs", server=server)
    assert parts_of(why, 1) == pytest.approx(
        {"alone": 2, "stack": 0.375, "blocked": 4.375, "frontend": 0.5, "return": 0.125}
    )
    assert sum(parts_of(why, 1).values()) == pytest.approx(why.result.ttft_s[1])
    assert [span[:4] for span in why.story(1).spans] == [
        (1.0, 1.5, "frontend", 0.5),
        (1.5, 5.875, "blocked", 4.375),
        (5.875, 8.25, "alone", 2.375),
        (8.25, 8.375, "return", 0.125),
    ]


@pytest.mark.parametrize(
    ("option", "reason", "sent_s"),
    [("frontend_s", "frontend", 0.5), ("return_s", "return", 0.5), ("host_s", "stack", 1.5)],
)
def test_the_stack_may_be_the_reason(option: str, reason: str, sent_s: float) -> None:
    """Request 1 waits for 0 for 0.5 s, runs for 1 s, and the stack takes 1 s; 2 cannot be in time even alone."""
    server = ServerOptions(**{"block_tokens": 1, option: 1.0})
    why = explained([(0.0, 1, 100.0), (sent_s, 1, 2.2), (9.0, 1, 1.9)], "fcfs", server=server)
    assert list(why.reasons) == [reason, "hopeless"]
    assert parts_of(why, 1) == pytest.approx({"alone": 1, "blocked": 0.5, reason: 1})
    assert why.result.bound is not None and why.result.bound.hopeless == 1


MISTAKEN: dict[str, Any] = {"predictor": "noisy:1", "seed": 5}


def test_a_wrong_prediction_is_the_reason_where_it_decided() -> None:
    """Two tokens are believed to take 14 s and three 0.5 s: at 1 request 2 goes before 1, which is late at 6."""
    rows = [(0.0, 1, 100.0), (0.25, 2, 4.0), (0.5, 3, 100.0)]
    why = explained(rows, "srpt:cut=none", **MISTAKEN)
    assert list(why.reasons) == ["mispredicted"]
    assert parts_of(why, 1) == pytest.approx({"alone": 2, "blocked": 0.75, "mispredicted": 3})
    assert [(span.part, span.requests) for span in why.story(1).spans] == [
        ("blocked", (0,)),
        ("mispredicted", (2,)),
        ("alone", ()),
    ]
    assert list(explained(rows, "srpt:cut=none").reasons) == []


def test_who_arrives_after_a_wrong_decision_is_blocked() -> None:
    rows = [(0.0, 1, 100.0), (0.25, 2, 100.0), (0.5, 3, 100.0), (3.0, 1, 1.5)]
    why = explained(rows, "srpt:cut=none", **MISTAKEN)
    assert list(why.reasons) == ["blocked"]
    assert parts_of(why, 3) == pytest.approx({"alone": 1, "blocked": 1})


def test_a_rejection_may_be_mispredicted() -> None:
    why = explained([(0.0, 2, 10.0)], "fcfs:admission=hopeless", **MISTAKEN)
    assert (list(why.reasons), why.servable) == (["mispredicted"], ["yes"])


def test_a_rejection_is_not_mispredicted_where_no_prediction_helps() -> None:
    """Request 2 is believed to take 14 s and rejected at 1; with an exact one it shares a pass with 1 until 13."""
    why = explained([(0.0, 1, 100.0), (0.25, 10, 100.0), (0.5, 2, 6.0)], "fcfs:admission=hopeless", **MISTAKEN)
    assert list(why.reasons) == ["rejected"]
    assert parts_of(why, 2) == pytest.approx({"blocked": 0.5})


def test_a_perfect_scheduler_serves_one_of_two() -> None:
    """Request 1, of 10 s, makes 2 and 3 late; these could be in time, and 1 then not. 0 is late alone."""
    rows = [(0.0, 3, 2.0), (20.0, 10, 10.5), (20.25, 9, 11.5), (20.5, 1, 5.0)]
    why = explained(rows, "fcfs", cost=service(layers=10))
    assert dict(zip(why.missed.tolist(), why.servable or (), strict=True)) == {0: "no", 2: "yes", 3: "yes"}
    assert why.servable_by_class == {"text": {"yes": 2, "instead": 0, "no": 1}}
    assert explained(rows, "fcfs", bound=False).servable is None


def test_table_figure_and_json_say_the_same() -> None:
    why = explained(QUEUE, "edf:cut=none")
    told = why.to_dict()
    assert told["reasons"] == why.by_class and told["servable"] == why.servable_by_class
    table = why.misses
    assert [miss["reason"] for miss in told["misses"]] == table["reason"].tolist() == list(why.reasons)
    assert [miss["servable"] for miss in told["misses"]] == table["servable"].tolist() == why.servable
    (axes,) = why.plot().axes
    bars = {bar.get_label(): bar[0].get_width() for bar in axes.containers}
    assert bars == {REASONS[name]: pytest.approx(100 * n / 5) for name, n in why.counts.items() if n}
    note = axes.figure.texts[-1].get_text().replace("\n", " ")
    assert all(f"{told}: {why.servable.count(name)}" in note for name, told in SERVABLE.items())


def test_a_run_that_is_cut_off_explains_what_was_due_before() -> None:
    why = explained([(0.0, 10, 100.0), (1.0, 2, 3.0)], "fcfs", until_s=6.0)
    assert list(why.reasons) == ["blocked"]
    assert parts_of(why, 1) == pytest.approx({"blocked": 5})


def test_a_run_without_events_has_no_explanation() -> None:
    with pytest.raises(InputError, match="events: were not kept"):
        explain(flowsim.run("example", "fcfs", limit=5))


@pytest.mark.parametrize("result", [3, None, "run"])
def test_only_a_run_is_explained(result: object) -> None:
    with pytest.raises(InputError, match=r"^result must be a run, as flowsim\.run gives it, got "):
        flowsim.explain(result)  # type: ignore[arg-type]
