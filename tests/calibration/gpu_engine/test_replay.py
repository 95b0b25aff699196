"""Requests executed on the CPU, with a model small enough: every policy, to the end, with the right tokens."""

from itertools import pairwise
from typing import Any

import pytest

from flowsim.calibration.gpu.batch import CacheSlice
from flowsim.calibration.gpu.decoder import Decoder
from flowsim.calibration.gpu.graphs import Launcher
from flowsim.calibration.gpu_engine.runner import launch
from flowsim.core.passes import Decision, Execution, Pass
from flowsim.core.policy import View
from flowsim.core.request import Request
from flowsim.engine.kv import taken_tokens
from flowsim.errors import InputError
from support.served import executed, ran, workload

torch = pytest.importorskip("torch")


POLICIES = (
    "fcfs", "chunked:128", "sjf:cut=chunk", "edf:cut=layer", "edf", "flowprefill:cut=block", "flowprefill",
    "flowprefill:wake=cuts,cut=layer",
)  # fmt: skip


@pytest.fixture(scope="module")
def alone(decoder: Decoder) -> list[int]:
    """The first token of each request of the workload, computed whole and alone."""
    tokens = []
    with torch.inference_mode():
        for request in workload():
            ids = decoder.random_ids(request.id, 0, request.tokens)
            tokens.append(decoder.run(decoder.prepare([CacheSlice(request.tokens)], ids)).item())
    return tokens


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_computes_every_prompt_however_it_chunks_packs_and_preempts(
    policy: str, decoder: Decoder, alone: list[int]
) -> None:
    replay = executed(policy, decoder)
    ledger, (log,) = replay.outcome.ledger, replay.outcome.logs
    requests = workload()
    assert replay.first_tokens == alone
    for request, started_s, finished_s in zip(requests, ledger.started_s, ledger.finished_s, strict=True):
        assert request.arrival_s <= started_s < finished_s <= replay.outcome.stopped_s
    assert len(replay.lateness_s) == len(requests)
    assert min(replay.lateness_s) >= 0
    for (_, end_s, _, _), (begin_s, _, _, _) in pairwise(ran(replay)):
        assert end_s <= begin_s  # one at a time
    spent_s = sum(end_s - begin_s for begin_s, end_s, _, _ in ran(replay))
    assert log.busy_s == pytest.approx(spent_s)
    assert log.preemptions == len(replay.preemptions)
    assert log.control_s > 0


def test_a_long_prompt_is_preempted_between_operators(decoder: Decoder) -> None:
    requests = [Request(0, 0.0, 2500, 60.0), Request(1, 0.002, 8, 0.05)]
    replay = executed("edf", decoder, requests, max_batched_tokens=2500)
    (pause,) = replay.preemptions
    ledger, (log,) = replay.outcome.ledger, replay.outcome.logs
    assert pause.execution == 0
    assert 0.002 <= pause.signal_s <= pause.stopped_s <= pause.acknowledged_s <= pause.resumed_s
    assert log.blocking_s == [pytest.approx(pause.acknowledged_s - pause.signal_s)]
    assert [(ids, completed) for _, _, ids, completed in ran(replay)] == [((0,), False), ((1,), True), ((0,), True)]
    assert ledger.preemptions == [1, 0]
    assert ledger.finished_s[1] < ledger.finished_s[0]


def test_requests_wait_for_cache_and_those_that_never_fit_are_rejected(decoder: Decoder) -> None:
    requests = [
        Request(i, 0.0, tokens, 9.0, kv_tokens=taken_tokens(tokens, 16)) for i, tokens in enumerate((1000, 900, 2000))
    ]
    replay = executed("fcfs", decoder, requests, kv_tokens=1100)
    ledger = replay.outcome.ledger
    assert ledger.rejected == [False, False, True]
    assert ledger.started_s[1] >= ledger.finished_s[0]
    assert replay.first_tokens[2] == -1


def test_a_policy_rejects_sets_a_timer_and_hears_of_what_happens(decoder: Decoder) -> None:
    class Gathers:
        """Runs all that wait once the first of them has waited for 50 ms; prompts of more than 90 tokens never."""

        cut = "none"
        wake = "events"

        def __init__(self) -> None:
            self.heard: list[Any] = []

        def on_arrival(self, request: Request, view: View) -> None:
            self.heard.append(request.id)

        def on_completion(self, execution: Execution, view: View) -> None:
            assert execution.taken_s > 0
            self.heard.append(execution.members)

        def choose(self, view: View) -> Any:
            long = [request for request in view.waiting if request.tokens > 90]
            short = [request for request in view.waiting if request.tokens <= 90]
            if view.running or not short:
                return Decision(reject=long)
            due_s = short[0].arrival_s + 0.05
            return Decision(Pass.whole(*short), long) if view.now >= due_s else Decision(None, long, due_s)

    rows = [(0.0, 50), (0.005, 100), (0.01, 60), (0.2, 70)]
    replay = executed(Gathers(), decoder, [Request(i, *row, 9.0) for i, row in enumerate(rows)])  # type: ignore[arg-type]
    ledger, (policy,) = replay.outcome.ledger, replay.outcome.policies
    assert ledger.rejected == [False, True, False, False]
    assert [ids for _, _, ids, _ in ran(replay)] == [(0, 2), (3,)]
    assert ledger.started_s[0] >= 0.05 and ledger.started_s[3] >= 0.25
    assert policy.heard == [0, 1, 2, (0, 2), 3, (3,)]  # type: ignore[attr-defined]


def test_a_policy_that_leaves_requests_behind_ends_the_replay(decoder: Decoder) -> None:
    class Idle:
        cut = "none"
        wake = "events"

        def choose(self, view: View) -> None:
            return None

    with pytest.raises(InputError, match="chose nothing for 2 requests, and nothing will happen"):
        executed(Idle(), decoder, [Request(i, 0.0, 8, 9.0) for i in range(2)])  # type: ignore[arg-type]


def test_a_policy_that_asks_for_what_there_is_not_ends_the_replay(decoder: Decoder) -> None:
    class Wrong:
        cut = "none"
        wake = "events"

        def choose(self, view: View) -> Pass:
            return Pass(())

    with pytest.raises(InputError, match=r"policy Wrong at .*: chose a pass without requests"):
        executed(Wrong(), decoder)  # type: ignore[arg-type]


def test_a_device_that_fails_ends_the_replay(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the device fell off")

    monkeypatch.setattr(Decoder, "prepare", fail)
    with pytest.raises(RuntimeError, match="the device fell off"):
        executed("fcfs", decoder)


@pytest.mark.usefixtures("inference")
def test_a_recorded_forward_computes_any_prompt_that_it_holds_and_fills_its_cache_rows(decoder: Decoder) -> None:
    launcher = Launcher(decoder, "block", [64, 128])
    for tokens, start in ((50, 700), (64, 900), (3, 1200), (100, 1300)):
        ids = decoder.random_ids(tokens, 0, tokens)
        for cache in decoder.cache:
            cache.fill_(7.0)
        forward = launcher.ready([CacheSlice(tokens, 0, start)], ids)
        assert forward.batch.tokens == (64 if tokens <= 64 else 128)
        assert launch(forward, lambda: None, lambda: False) == len(forward.segments)
        found = launcher.next_ids(forward)
        written = [cache.clone() for cache in decoder.cache]
        whole = decoder.prepare([CacheSlice(tokens, 0, start)], ids)
        decoder.run(whole)
        assert found.tolist() == whole.next_ids.tolist()
        for graphed, eager in zip(written, decoder.cache, strict=True):
            assert torch.allclose(graphed[:, : decoder.rows], eager[:, : decoder.rows], atol=1e-5)
    assert launcher.crowded == 0


@pytest.mark.usefixtures("inference")
def test_while_a_recording_is_in_use_another_forward_of_its_size_is_launched_without(decoder: Decoder) -> None:
    launcher = Launcher(decoder, "operator", [64])
    first = launcher.ready([CacheSlice(50)], decoder.random_ids(0, 0, 50))
    expected = decoder.run(decoder.prepare([CacheSlice(50)], decoder.random_ids(0, 0, 50)))
    at = launch(first, lambda: None, lambda: True)
    second = launcher.ready([CacheSlice(40, 0, 100)], decoder.random_ids(1, 0, 40))
    assert (second.batch is first.batch, launcher.crowded) == (False, 1)
    launch(second, lambda: None, lambda: False)
    launcher.next_ids(second)
    launch(first, lambda: None, lambda: False, at)
    kept = launcher.next_ids(first)
    third = launcher.ready([CacheSlice(40, 0, 100)], decoder.random_ids(1, 0, 40))
    assert third.batch is first.batch
    launch(third, lambda: None, lambda: False)
    assert kept.tolist() == expected.tolist()  # although its buffers hold another's tokens by now
    for slices in ([CacheSlice(65)], [CacheSlice(3, 5)], [CacheSlice(3), CacheSlice(4, 0, 9)]):
        assert launcher.ready(slices).batch is not first.batch


@pytest.mark.parametrize("policy", POLICIES)
def test_recorded_forwards_make_the_same_first_tokens(policy: str, decoder: Decoder, alone: list[int]) -> None:
    assert executed(policy, decoder, graph_tokens=192).first_tokens == alone


def test_hand_overs_are_counted_where_the_next_pass_was_ready(decoder: Decoder) -> None:
    together = [Request(i, 0.0, 300, 9.0) for i in range(4)]
    apart = [Request(i, 0.2 * i, 60, 9.0) for i in range(4)]
    assert len(executed("sjf:batch_tokens=300", decoder, together).hand_overs_s) == 3
    assert executed("sjf:batch_tokens=300", decoder, apart).hand_overs_s == []
