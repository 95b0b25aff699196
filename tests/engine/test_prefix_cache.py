"""The causal prefix cache: whole timelines on costs that a pencil follows, and what the cache keeps and evicts.

A token takes a second, spread evenly over the five operators of the only layer; a block holds one token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import force_setattr

from flowsim.core.events import Event, Reused, Stretch, stretches
from flowsim.core.order import Flipping, Moving
from flowsim.core.passes import Pass
from flowsim.core.prefix_cache import Prefixes, Retention
from flowsim.core.request import Request, reuse
from flowsim.core.server import ServerOptions
from flowsim.engine.kv import taken_tokens
from flowsim.engine.prefix_cache import PrefixCache
from flowsim.engine.simulate import Outcome
from flowsim.policies.chunked import Chunked
from flowsim.policies.edf import EDF
from flowsim.policies.fcfs import FCFS
from flowsim.policies.flowprefill import FlowPrefill
from flowsim.policies.laxity import LARS, LLF
from flowsim.policies.sjf import SJF
from support.costs import pencil
from support.timelines import replay_exactly

Row = tuple[float, float, Sequence[int]]  # arrival, SLO, blocks: as many tokens


def retention(text: str) -> Retention:
    found = Retention.parse(text)
    assert found is not None
    return found


def run(policy: Any, *rows: Row, cache: str = "ideal", head_s: float = 0.0, **limits: Any) -> Outcome:
    cost, server = pencil(head_s=head_s), ServerOptions(**{"block_tokens": 1, **limits})
    requests = [Request(i, at, len(ids), slo_s, blocks=ids) for i, (at, slo_s, ids) in enumerate(rows)]
    return replay_exactly(requests, policy, cost, server, prefixes=Prefixes(retention(cache), 1), events=True)


def events_of(outcome: Outcome, instance: int = 0) -> Sequence[Event]:
    assert outcome.events is not None
    return outcome.events[instance]


def ran(outcome: Outcome, instance: int = 0) -> list[Stretch]:
    return stretches(events_of(outcome, instance))


SIXTEEN = range(100, 116)


# When a block is there.


def test_a_prompt_does_not_reuse_what_is_still_being_computed() -> None:
    """Two prompts with the same sixteen blocks, one right after the other: the second waits for the first."""
    outcome = run(SJF(cut="operator"), (0.0, 99.0, SIXTEEN), (0.001, 99.0, SIXTEEN))
    assert ran(outcome) == [(0.0, 16.0, (0,), True), (16.0, 17.0, (1,), True)]  # the last token is always computed
    assert outcome.ledger.cached_tokens == [0, 15]
    assert [event for event in events_of(outcome) if isinstance(event, Reused)] == [Reused(16.0, 1, 15)]


def test_prompts_of_one_pass_share_nothing_that_it_computes() -> None:
    outcome = run(FCFS(), (0.0, 99.0, [1, 2, 3]), (0.0, 99.0, [1, 2, 3]))
    assert ran(outcome) == [(0.0, 6.0, (0, 1), True)]
    assert outcome.ledger.cached_tokens == [0, 0]


def test_blocks_of_a_paused_pass_are_not_there_yet() -> None:
    outcome = run(EDF(), (0.0, 99.0, [1, 2, 3, 4, 5]), (1.5, 9.0, [1, 2, 3]))
    assert ran(outcome) == [(0.0, 2.0, (0,), False), (2.0, 5.0, (1,), True), (5.0, 8.0, (0,), True)]


def test_chunks_enter_one_after_another() -> None:
    """The second prompt begins with the rest of the budget of the second step, on the first step's two blocks."""
    outcome = run(Chunked(2), (0.0, 99.0, [1, 2, 3]), (0.5, 99.0, [1, 2, 3, 4]))
    assert ran(outcome) == [(0.0, 2.0, (0,), True), (2.0, 4.0, (0, 1), True), (4.0, 5.0, (1,), True)]
    assert outcome.ledger.cached_tokens == [0, 2]


def test_each_instance_has_a_cache_of_its_own() -> None:
    rows = [(float(t), 99.0, [1, 2, 3, 4]) for t in (0, 10, 20)]
    outcome = run(FCFS(), *rows, instances=2)
    assert outcome.ledger.cached_tokens == [0, 0, 3]
    assert ran(outcome, 1) == [(10.0, 14.0, (1,), True)]


# What the policy sees.


def test_a_waiting_prompt_moves_up_when_its_blocks_enter() -> None:
    rows = [(0.0, 99.0, range(8)), (1.0, 99.0, range(10)), (1.0, 99.0, range(20, 25))]
    outcome = run(SJF(1), *rows)
    assert [s[2] for s in ran(outcome)] == [(0,), (1,), (2,)]  # two tokens left before five
    assert outcome.ledger.finished_s == [8.0, 10.0, 15.0]


ORDERS = {
    "flipping": Flipping(
        key=lambda candidate: -candidate.deadline_s,
        flips_at=lambda candidate: candidate.deadline_s - candidate.predicted_s,
        flipped=lambda candidate: candidate.tokens,
    ),
    "moving": Moving(lambda candidate, now: candidate.deadline_s - now - candidate.predicted_s),
}


class Seen:
    """One prompt a pass, in an order; notes what it sees of the waiting ones."""

    cut, wake = "none", "events"

    def __init__(self, order: Any) -> None:
        self.order = order
        self.waiting: list[list[tuple[int, int, int, float]]] = []

    def choose(self, view: Any) -> Any:
        self.waiting.append([(r.id, r.cached, r.tokens, r.predicted_s) for r in view.waiting])
        head = view.first(self.order)
        return Pass.whole(head) if isinstance(head, Request) else None


@pytest.mark.parametrize("name", ORDERS)
def test_a_policy_sees_what_is_cached_now(name: str) -> None:
    policy = Seen(ORDERS[name])
    rows = [(0.0, 99.0, range(8)), (1.0, 12.0, range(10)), (2.0, 9.0, range(20, 25))]
    outcome = run(policy, *rows)
    second, third = (1, 8, 2, 2.0), (2, 0, 5, 5.0)
    (own,) = outcome.policies
    assert own.waiting == [[(0, 0, 8, 8.0)], [second, third], [second] if name == "moving" else [third]]
    # Laxity at 8 s: 13 - 8 - 2 = 3 of the second, 11 - 8 - 5 = -2 of the third. It has flipped, the second no longer.
    assert [s[2] for s in ran(outcome)] == {"moving": [(0,), (2,), (1,)], "flipping": [(0,), (1,), (2,)]}[name]


def test_a_hopeless_prompt_has_hope_again_when_its_blocks_enter() -> None:
    """S-EDF: at 8 s the second could not make it by 12 s on its own, and makes it on the first one's blocks."""
    rows = [(0.0, 99.0, range(8)), (1.0, 11.0, range(10)), (1.0, 20.0, range(20, 25))]
    policy = FlowPrefill(cut="none", batch_tokens=1)
    assert [s[2] for s in ran(run(policy, *rows))] == [(0,), (1,), (2,)]
    alone = [(at, slo_s, [id + 100 * i for id in ids]) for i, (at, slo_s, ids) in enumerate(rows)]
    assert [s[2] for s in ran(run(policy, *alone))] == [(0,), (2,), (1,)]


def test_the_time_of_a_whole_prompt_does_not_change_with_what_is_cached() -> None:
    """At 8 s the second has 11 s of slack, the third 10 s: 1.1 of its 10 tokens, of which 2 are left, and 2 of 5."""
    rows = [(0.0, 99.0, range(8)), (1.0, 20.0, range(10)), (2.0, 21.0, range(20, 25))]
    assert [s[2] for s in ran(run(LARS(), *rows))] == [(0,), (1,), (2,)]
    assert [s[2] for s in ran(run(LLF(cut="none"), *rows))] == [(0,), (2,), (1,)]


def test_hits_are_known_at_the_launch() -> None:
    """The second is chosen at 11 s for eleven tokens; the first, past its last cut, completes, and one is left."""
    outcome = run(EDF(), (0.0, 99.0, range(10)), (11.0, 5.0, range(11)), head_s=2.0)
    assert ran(outcome) == [(0.0, 12.0, (0,), True), (12.0, 15.0, (1,), True)]
    assert outcome.ledger.cached_tokens == [0, 10]


def test_a_part_that_was_chosen_stays_a_part() -> None:
    class Parts(EDF):
        def choose(self, view: Any) -> Any:
            choice = super().choose(view)
            return Pass(((choice.parts[0][0], 4),)) if isinstance(choice, Pass) and view.now == 11.0 else choice

    outcome = run(Parts(), (0.0, 99.0, range(10)), (11.0, 9.0, [*range(8), *range(20, 26)]), head_s=2.0)
    assert ran(outcome) == [(0.0, 12.0, (0,), True), (12.0, 18.0, (1,), True), (18.0, 22.0, (1,), True)]


# What is kept.


def test_the_least_recently_used_leaves_first_and_of_a_prompt_its_end() -> None:
    rows = [(0.0, 9.0, [1, 2, 3]), (10.0, 9.0, [4, 5]), (20.0, 9.0, [1, 2, 3]), (30.0, 9.0, [4, 5, 6])]
    assert run(FCFS(), *rows, cache="lru:5").ledger.cached_tokens == [0, 0, 2, 2]
    assert run(FCFS(), *rows, cache="lru:4").ledger.cached_tokens == [0, 0, 2, 1]  # the 3 makes the 5 leave
    assert run(FCFS(), *rows, cache="lru:3").ledger.cached_tokens == [0, 0, 1, 0]
    assert run(FCFS(), *rows, cache="ideal").ledger.cached_tokens == [0, 0, 2, 2]


def test_requests_drive_out_what_is_only_kept() -> None:
    rows = [(0.0, 9.0, [1, 2, 3]), (10.0, 9.0, range(10, 18)), (20.0, 9.0, [1, 2, 3])]
    for kv_tokens, cached in {11: 2, 10: 2, 9: 1, 8: 0}.items():
        outcome = run(FCFS(), *rows, cache="lru:100", kv_tokens=kv_tokens)
        assert outcome.ledger.cached_tokens == [0, 0, cached], kv_tokens
    assert run(FCFS(), *rows, cache="ideal", kv_tokens=8).ledger.cached_tokens == [0, 0, 2]


def request(id: int, blocks: Sequence[int], tokens: int | None = None) -> Request:
    size = tokens or 2 * len(blocks)
    return Request(id, 0.0, size, 9.0, blocks=blocks, kv_tokens=taken_tokens(size, 2))


def compute(kv: PrefixCache, *requests: Request) -> None:
    """What an instance does when a pass over all of these has completed."""
    for one in requests:
        before = one.context
        force_setattr(one, "context", one.input_length)
        kv.computed(one, before)


def test_shared_blocks_are_stored_once() -> None:
    kv = PrefixCache(16, Prefixes(retention("lru:9"), 2))
    first, second, third = request(0, [1, 2, 3]), request(1, [1, 2, 4]), request(2, [1, 2, 5], 7)
    assert kv.take(first) and kv.take(second)
    assert kv.free_tokens == 4
    compute(kv, first, second)
    assert kv.free_tokens == 8  # 1 to 4, each once
    reuse(third, 4)
    assert kv.take(third)
    assert kv.free_tokens == 4  # two tokens of a block, and one of another
    kv.give_back(first)
    kv.trim()
    assert kv.free_tokens == 6 and all(block in kv for block in (1, 2, 3, 4))
    kv.give_back(second)
    compute(kv, third)
    kv.give_back(third)
    assert kv.free_tokens == 16


def test_what_a_request_holds_is_never_evicted() -> None:
    kv = PrefixCache(8, Prefixes(retention("lru:1"), 2))
    first, second = request(0, [1, 2]), request(1, [1, 2, 3])
    assert kv.take(first)
    compute(kv, first)
    kv.trim()
    assert 1 in kv and 2 in kv  # two, though only one would be kept
    reuse(second, 4)
    assert kv.take(second)
    kv.give_back(first)
    kv.trim()
    assert 1 in kv and 2 in kv
    compute(kv, second)
    kv.give_back(second)
    kv.trim()
    assert [block in kv for block in (1, 2, 3)] == [True, False, False]
    assert sorted(kv.left) == [2, 3]


def test_a_pass_that_does_not_fit_takes_nothing() -> None:
    kv = PrefixCache(8, Prefixes(retention("lru:9"), 2))
    first, second = request(0, [1, 2]), request(1, [1, 4, 5, 6])
    assert kv.take(first)
    compute(kv, first)
    assert not kv.take(second)  # eight tokens, none of which it knows to be cached
    reuse(second, 2)
    assert not kv.take(second)  # six beside the four that are held
    kv.give_back(first)
    assert kv.free_tokens == 8
    assert kv.take(second)
    assert kv.free_tokens == 0
    kv.trim()
    assert [block in kv for block in (1, 2)] == [True, False]
