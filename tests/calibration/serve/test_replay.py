"""Requests executed on the CPU, with a model small enough: every policy, to the end, with the right tokens."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsim.calibration.costs.cost_model import GraphCost
from flowsim.calibration.costs.models import ModelSpec
from flowsim.calibration.costs.predictor import make_predictor
from flowsim.calibration.gpu.batch import Batch, CacheSlice, Step
from flowsim.calibration.gpu.decoder import Decoder
from flowsim.calibration.gpu.graphs import Launcher
from flowsim.calibration.gpu.kv_rows import CacheRows
from flowsim.calibration.serve import warm_up as serving
from flowsim.calibration.serve.replay import Replay, execute
from flowsim.calibration.serve.runner import Job, Member, Runner, launch
from flowsim.core.events import Stretch, stretches
from flowsim.core.passes import Decision, Execution, Pass
from flowsim.core.policy import Policy, View
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.errors import InputError
from flowsim.policies.registry import load_policy
from support.costs import service

torch = pytest.importorskip("torch")

SPEC = ModelSpec("tiny", 2, 64, 4, 2, 16, 128, 97, 4096, 10000.0, 1e-5)
COST = service(2, graph=GraphCost(192, lambda n: n / 2, lambda n: 0.0, lambda n: 0.0))
ROWS = 6000
POLICIES = (
    "fcfs", "chunked:128", "sjf:cut=chunk", "edf:cut=layer", "edf", "flowprefill:cut=block", "flowprefill",
    "flowprefill:wake=cuts,cut=layer",
)  # fmt: skip


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder(SPEC, "cpu", rows=ROWS, dtype="float32", seed=3)


@pytest.fixture(scope="module")
def alone(decoder: Decoder) -> list[int]:
    """The first token of each request of the workload, computed whole and alone."""
    tokens = []
    with torch.inference_mode():
        for request in workload():
            ids = decoder.random_ids(request.id, 0, request.tokens)
            tokens.append(decoder.run(decoder.prepare([CacheSlice(request.tokens)], ids)).item())
    return tokens


def workload(n: int = 40, every_s: float = 0.004) -> list[Request]:
    rng = np.random.default_rng(5)
    arrival_s = np.cumsum(rng.exponential(every_s, n))
    sizes = rng.choice([8, 60, 300, 1000], n).tolist()
    sizes[0] = 1000  # there is a long one to preempt from the start
    slos = {8: 0.05, 60: 0.1, 300: 1.0, 1000: 2.0}
    pairs = zip((arrival_s - arrival_s[0]).tolist(), sizes, strict=True)
    return [Request(i, t, size, slos[size], block_tokens=16) for i, (t, size) in enumerate(pairs)]


def executed(policy: Policy | str, decoder: Decoder, requests: list[Request] | None = None, **limits: int) -> Replay:
    policy = load_policy(policy) if isinstance(policy, str) else policy
    server = ServerOptions(**{"kv_tokens": 4000, "max_batched_tokens": 256, **limits})
    predictor = make_predictor("exact", COST, policy.cut, server.max_batched_tokens)
    with Runner(decoder) as runner:
        return execute(requests or workload(), policy, COST, predictor, runner, server)


def ran(replay: Replay) -> list[Stretch]:
    assert replay.outcome.events is not None
    return stretches(replay.outcome.events[0])


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
    requests = [Request(i, 0.0, tokens, 9.0, block_tokens=16) for i, tokens in enumerate((1000, 900, 2000))]
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


# The runner.


@pytest.fixture
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.mark.usefixtures("inference")
@pytest.mark.parametrize("cut", ["none", "layer", "block", "operator"])
def test_a_forward_stops_after_the_segment_in_which_it_is_signalled_and_goes_on(decoder: Decoder, cut: str) -> None:
    ids = decoder.random_ids(0, 0, 50)
    whole = decoder.prepare([CacheSlice(50)], ids)
    decoder.run(whole)
    for launcher in (Launcher(decoder, cut), Launcher(decoder, cut, [64])):
        forward, at, stops = launcher.ready([CacheSlice(50)], ids), 0, 0
        while at < len(forward.segments):
            at = launch(forward, lambda: None, lambda: True, at)
            stops += 1
            decoder.run(decoder.prepare([CacheSlice(70, start=100)]))  # another, meanwhile
        assert stops == len(decoder.segments(cut))
        assert torch.allclose(forward.batch.logits, whole.logits, atol=1e-5)


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


@pytest.mark.usefixtures("inference")
def test_a_job_of_several_forwards_ends_its_members_where_they_end(decoder: Decoder) -> None:
    sizes, starts = (100, 30, 250), (0, 200, 300)
    ids = [decoder.random_ids(i, 0, n) for i, n in enumerate(sizes)]
    members = [Member(CacheSlice(n, 0, start), of) for n, start, of in zip(sizes, starts, ids, strict=True)]
    job, signals = Job(members, 128), iter([True, False] * 100)
    times = 1
    done = [job.done[0]]
    while not job.run(Launcher(decoder, "layer", [64]), lambda: None, lambda: next(signals)):
        times += 1
        done.append(job.done[0])
    assert times > 3
    assert done == sorted(done)
    assert job.done == (380, job.elapsed_s)
    for place, (n, of) in enumerate(zip(sizes, ids, strict=True)):
        next_ids, row = job.next_ids[place]
        assert next_ids[row] == decoder.run(decoder.prepare([CacheSlice(n, start=1000)], of))[0]


def test_leaving_a_runner_stops_it_in_the_middle_of_a_job(decoder: Decoder) -> None:
    told: list[object] = []
    with Runner(decoder) as runner:
        runner.serve("operator", told.append)
        runner.start(Job([Member(CacheSlice(2000), decoder.random_ids(0, 0, 2000))], 2000))
    assert "runner" not in {thread.name for thread in threading.enumerate()}
    assert len(told) == 1


def test_a_runner_does_other_work_in_its_thread_and_raises_what_that_raises(decoder: Decoder) -> None:
    threads: list[str] = []
    with Runner(decoder) as runner:
        runner.call(lambda _: threads.append(threading.current_thread().name))
        with pytest.raises(ZeroDivisionError):
            runner.call(lambda _: 1 / 0)  # type: ignore[arg-type,return-value]
    assert threads == ["runner"]


def test_cache_rows_are_taken_where_they_fit_best_and_joined_when_given_back() -> None:
    rows = CacheRows(100)
    assert [rows.take(n) for n in (40, 30, 30)] == [0, 40, 70]
    assert rows.longest == 0
    with pytest.raises(InputError, match=r"KV cache: no 1 contiguous rows are free; expected <= view.free_tokens"):
        rows.take(1)
    rows.give(0, 40)
    rows.give(70, 30)
    assert rows.longest == 40
    assert rows.take(30) == 70
    rows.give(40, 30)
    assert rows.take(70) == 0


@given(st.integers(1, 60), st.lists(st.tuples(st.booleans(), st.lists(st.integers(1, 20), max_size=4)), max_size=60))
def test_no_batch_that_the_longest_stretch_holds_is_without_rows(total: int, steps: list[Any]) -> None:
    rows, held = CacheRows(total), dict[int, int]()
    for give, batch in steps:
        if give and held:
            start = sorted(held)[sum(batch) % len(held)]
            rows.give(start, held.pop(start))
        elif sum(batch) <= rows.longest:
            for wanted in batch:
                held[rows.take(wanted)] = wanted
        taken = sorted(held.items())
        assert all(a + n <= b for (a, n), (b, _) in pairwise([*taken, (total, 0)]))
        ends = [0, *(start + n for start, n in taken)]
        gaps = [start - end for end, start in zip(ends, [*(start for start, _ in taken), total], strict=True)]
        assert rows.longest == max(gaps)
    for start, n in held.items():
        rows.give(start, n)
    assert rows.longest == total


def test_a_prompt_that_finds_no_stretch_of_rows_waits_for_one(decoder: Decoder) -> None:
    """Of 6000 rows 4000 are free once the first and the third have ended, 2000 of them before the second."""

    class InTurn:
        """Begins all that fit, a chunk each, then goes on with the one whose SLO is the shortest."""

        cut = "none"
        wake = "events"

        def choose(self, view: View) -> Pass | None:
            if view.running is not None:
                return None
            for request in view.waiting:
                if request.kv_tokens <= view.free_tokens:
                    return Pass(((request, 16),))
            left = min(view.started, key=lambda request: request.slo_s, default=None)
            return None if left is None else Pass.whole(left)

    sizes, slos = (2000, 2000, 1600, 3000, ROWS), (1.0, 3.0, 2.0, 4.0, 5.0)  # the last needs all, of which none is lost
    requests = [Request(i, 0.0, n, slo, block_tokens=16) for i, (n, slo) in enumerate(zip(sizes, slos, strict=True))]
    replay = executed(InTurn(), decoder, requests, kv_tokens=ROWS)  # type: ignore[arg-type]
    ledger = replay.outcome.ledger
    assert replay.scattered > 0
    assert ledger.finished_s[0] < ledger.finished_s[2] < ledger.finished_s[1] < ledger.started_s[3]
    assert all(token >= 0 for token in replay.first_tokens)


def test_hand_overs_are_counted_where_the_next_pass_was_ready(decoder: Decoder) -> None:
    together = [Request(i, 0.0, 300, 9.0) for i in range(4)]
    apart = [Request(i, 0.2 * i, 60, 9.0) for i in range(4)]
    assert len(executed("sjf:batch_tokens=300", decoder, together).hand_overs_s) == 3
    assert executed("sjf:batch_tokens=300", decoder, apart).hand_overs_s == []


def test_a_warm_gpu_has_met_every_number_of_tokens(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers that wait for the host through all of a layer, and multiples of 128 through attention."""
    ran: dict[str, set[int]] = {}

    class Noted:
        """The decoder, as if it were on a GPU, and what it has run."""

        device = SimpleNamespace(type="cuda")
        operators = decoder.operators

        def __init__(self) -> None:
            self.program = [replace(step, run=self.noting(step)) for step in decoder.program]

        def noting(self, step: Step) -> Callable[[Batch], None]:
            def run(p: Batch) -> None:
                ran.setdefault(step.operator, set()).add(p.tokens)
                step.run(p)

            return run

        def prepare(self, slices: list[CacheSlice]) -> Batch:
            return decoder.prepare(slices)

        def segments(self, cut: str) -> list[list[Callable[[Batch], None]]]:
            assert cut == "layer"
            return [[step.run for step in self.program]]

    monkeypatch.setattr(serving, "synchroniser", lambda device: lambda: None)
    monkeypatch.setattr(serving, "HEAT_S", 0.0)
    monkeypatch.setattr(serving, "MET_TOKENS", 40)
    with torch.inference_mode():
        for _ in serving.warm_up(Noted(), 500, 600):  # type: ignore[arg-type]
            pass
    met = {*range(1, 41), 64, 100, 128, 256, 500}
    assert ran["down_proj"] == ran["head"] == met
    assert ran["attention"] == met | {384}
