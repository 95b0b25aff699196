"""A second engine, slow and plain, with which the engine must agree on every time stamp.

It steps through the operators of every pass on the two clocks, keeps everything in plain lists that it sorts and
scans for every question, and has its own loop over time. Of the package it uses the costs of operators
(`CostModel.launches` and the constants), the policies, the predictors and the class `Request`; no timeline, queue or
instance. `slow_power` has the speed of a rested GPU.

At any one time arrivals come first, then what the device does, then decisions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from types import SimpleNamespace
from typing import Any

from msgspec.structs import force_setattr

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.power import PowerModel
from flowsim.core.operators import LAYER_OPERATORS
from flowsim.core.passes import Pass
from flowsim.core.policy import Policy
from flowsim.core.predictor import Predictor
from flowsim.core.prefix_cache import Prefixes
from flowsim.core.request import Request, reuse
from flowsim.core.server import ServerOptions
from flowsim.core.timeline import Slice
from support.slow_power import Heat

CHECKED_AFTER = {
    "none": [],
    "chunk": [],
    "layer": ["all_reduce_mlp"],
    "block": ["all_reduce_attn", "all_reduce_mlp"],
    "operator": ["qkv_proj", "attention", "all_reduce_attn", "router", "all_reduce_mlp"],
}


@dataclass(frozen=True)
class Check:
    """A point where the host waits for the device: its time, the tokens of the forwards ended, whether it is an end."""

    at_s: float
    tokens: int
    ends: bool


def forwards(slices: Sequence[Slice], max_batched_tokens: int) -> Iterator[list[Slice]]:
    """The pass token by token, split into forwards of `max_batched_tokens`."""
    tokens = [(which, context + i) for which, (n, context) in enumerate(slices) for i in range(n)]
    for start in range(0, len(tokens), max_batched_tokens):
        members = groupby(tokens[start : start + max_batched_tokens], key=lambda token: token[0])
        positions = [[position for _, position in member] for _, member in members]
        yield [Slice(len(position), position[0]) for position in positions]


def walk(
    cost: CostModel, slices: Sequence[Slice], cut: str, max_batched_tokens: int, graph_tokens: int = 0
) -> list[Check]:
    """Every check of a pass, operator by operator; the last is its completion."""
    checks: list[Check] = []
    clock, done = 0.0, 0
    for part in forwards(slices, max_batched_tokens):
        lead, layer, head, check_s = cost.launches(part, graph_tokens)
        host = device = clock
        for launch in lead:
            for _ in range(launch.calls):
                host += launch.host_s / launch.calls
                device = max(device, host) + launch.device_s / launch.calls
        for _ in range(cost.layers):
            for name, launch in zip(LAYER_OPERATORS, layer, strict=True):
                for _ in range(launch.calls):
                    host += launch.host_s / launch.calls
                    device = max(device, host) + launch.device_s / launch.calls
                if name in CHECKED_AFTER[cut]:
                    host = device = device + check_s
                    checks.append(Check(host, done, ends=False))
        for _ in range(head.calls):
            host += head.host_s / head.calls
            device = max(device, host) + head.device_s / head.calls
        clock = device + check_s
        done += sum(tokens for tokens, _ in part)
        checks.append(Check(clock, done, ends=True))
    return checks


def device_work_s(cost: CostModel, slices: Sequence[Slice], max_batched_tokens: int, graph_tokens: int) -> float:
    """Seconds for which a pass keeps the device busy: the sum over its operators."""
    all_launches = []
    for part in forwards(slices, max_batched_tokens):
        lead, layer, head, _ = cost.launches(part, graph_tokens)
        all_launches += [*lead, *layer * cost.layers, head]
    return sum(launch.device_s for launch in all_launches)


class Batch:
    """A pass that has been launched, ranked by its head."""

    def __init__(
        self, parts: tuple[tuple[Request, int], ...], checks: list[Check], unchecked_s: float, device_s: float
    ) -> None:
        head = parts[0][0]
        self.id, self.arrival_s, self.class_name = head.id, head.arrival_s, head.class_name
        self.slo_s, self.deadline_s = head.slo_s, head.deadline_s
        self.priority, self.cached, self.input_length = head.priority, head.cached, head.input_length
        self.parts = parts
        self.requests = [request for request, _ in parts]
        self.batch_tokens = self.tokens = sum(tokens for _, tokens in parts)
        self.predicted_s, self.predicted_whole_s = head.predicted_s, head.predicted_whole_s
        self.since_s = 0.0
        self.checks = checks
        self.duration_s = checks[-1].at_s
        self.unchecked_s = unchecked_s
        self.device_s = device_s
        self.recorded = 0  # tokens of the recording as which it runs
        self.timeline = SimpleNamespace(duration_s=self.duration_s)
        self.stopped = -1  # the check at which it was last stopped
        self.elapsed_s = 0.0  # how far it was then
        self.taken_s = 0.0  # how long it had run

    def measure(self, predictor: Predictor, elapsed_s: float) -> None:
        """What policies see of it after `elapsed_s`."""
        ended = [check for check in self.checks if check.ends and check.at_s <= elapsed_s]
        self.tokens = self.batch_tokens - (ended[-1].tokens if ended else 0)
        self.since_s = elapsed_s - (ended[-1].at_s if ended else 0.0)
        self.predicted_s = predictor.left(self, elapsed_s, self.tokens, self.since_s)  # type: ignore[arg-type]


class Site:
    """One instance; it is also the view that its policy gets."""

    def __init__(
        self,
        policy: Policy,
        cost: CostModel,
        predictor: Predictor,
        server: ServerOptions,
        prefixes: Prefixes | None = None,
    ) -> None:
        self.prefixes = prefixes
        self.policy, self.cost, self.predictor, self.server = policy, cost, predictor, server
        self.at_cuts = policy.wake == "cuts" and policy.cut != "none"
        self.now = 0.0
        self.waiting: list[Request] = []
        self.started: list[Request] = []
        self.paused: list[Batch] = []
        self.running: Batch | None = None
        self.blocks = (server.kv_tokens or cost.kv_capacity_tokens) // server.block_tokens
        self.holding: list[Request] = []  # launched, and not finished
        self.kept: list[int] = []  # cached blocks that nobody holds, the least recently used first
        self.launched = 0
        boost = cost.boost
        self.heat = Heat(boost.window_s, boost.threshold) if boost else None
        self.thinks_s = 0.0  # when the scheduler began to think about its latest decision
        self.began_s = 0.0  # when the running stretch began; later than now while a pass is being resumed
        self.stop: int | None = None  # the check at which the running pass will stop
        self.event_s = math.inf  # when the device, or the acknowledgement of its stop, is next heard of
        self.decide_s = math.inf  # when the decision in progress is made
        self.stood_s = 0.0  # when the running pass stopped at the cut where it stands
        self.other_s = math.inf  # when another pass would begin, if one is chosen there
        self.chosen: Any = None
        self.signal_s = 0.0
        self.due = False
        self.unseen_s: float | None = None
        self.tokens_left: list[int] = []  # of each request of the chosen pass, when it was chosen
        self.outstanding: dict[int, float] = {}  # predicted seconds at arrival, by request
        self.rows: dict[int, SimpleNamespace] = {}
        self.busy_s = self.check_s = self.control_s = 0.0
        self.deciding_s = self.hand_over_s = self.idle_s = 0.0
        self.decisions = self.preemptions = 0
        self.blocking_s: list[float] = []
        self.stretches: list[tuple[float, float, tuple[int, ...], bool]] = []

    # What a policy sees.

    @property
    def free_tokens(self) -> int:
        return self.blocks * self.server.block_tokens - self.taken_tokens

    @property
    def free_slots(self) -> int:
        return self.server.slots - self.launched

    def predict(self, tokens: int, context: int = 0) -> float:
        return self.predictor.predict(tokens, context)

    def first(self, order: Any) -> Any:
        def best(candidates: list[Any]) -> Any:
            return min(candidates, key=lambda candidate: order.rank(candidate, self.now), default=None)

        started = self.started if self.free_slots > 0 else []
        others = [*started, *self.paused, *([self.running] if self.running else [])]
        found = best(others + self.waiting)
        if found in self.waiting and not (self.free_slots > 0 and self.fits(found)):
            return best(others)
        return found

    def next_waiting(self, order: Any, last: Request | None = None, max_tokens: int = 1 << 62) -> Any:
        ranked = sorted(self.waiting, key=lambda request: order.rank(request, self.now))
        if last is not None:
            ranked = [r for r in ranked if order.rank(r, self.now) > order.rank(last, self.now)]
        return next((request for request in ranked if request.tokens <= max_tokens), None)

    # What happens.

    def blocks_of(self, request: Request) -> int:
        return math.ceil(request.input_length / self.server.block_tokens)

    def fits(self, request: Request) -> bool:
        return self.blocks_of(request) * self.server.block_tokens <= self.free_tokens

    def shared(self, request: Request) -> list[int]:
        """The blocks that a request holds together with others."""
        return list(request.blocks[: request.context // self.prefixes.block_tokens]) if self.prefixes else []

    @property
    def held(self) -> set[int]:
        return {block for request in self.holding for block in self.shared(request)}

    @property
    def taken_tokens(self) -> int:
        """Shared blocks are there once, the rest of each prompt for itself."""
        size = self.prefixes.block_tokens if self.prefixes else 0
        alone = [self.blocks_of(r) * self.server.block_tokens - len(self.shared(r)) * size for r in self.holding]
        return sum(alone) + len(self.held) * size

    def release(self, request: Request) -> None:
        """A request is through: what nobody else holds is now the most recently used, its first block most of all."""
        self.holding.remove(request)
        self.kept += [block for block in reversed(list(dict.fromkeys(self.shared(request)))) if block not in self.held]

    def refresh(self) -> None:
        """Evict what there is no room for, and look up anew what is cached of every waiting request."""
        if self.prefixes is None:
            return
        size, kept = self.prefixes.block_tokens, self.prefixes.retention
        while self.kept and (
            len(self.kept) > kept.blocks or (kept.in_memory and len(self.kept) * size > self.free_tokens)
        ):
            self.kept.pop(0)
        cached = self.held | set(self.kept)
        for request in self.waiting:
            known = 0
            for block in request.blocks:
                if block not in cached or known + size >= request.input_length:
                    break
                known += size
            reuse(request, known)
            force_setattr(request, "predicted_s", self.predictor.predict(request.tokens, request.context))

    @property
    def work_s(self) -> float:
        """In whole nanoseconds per request, so that equal work is equal in whatever order it came and went."""
        return sum(round(predicted_s * 1e9) for predicted_s in self.outstanding.values()) * 1e-9

    def arrive(self, request: Request, now: float) -> None:
        self.rows[request.id] = row = SimpleNamespace(
            started_s=math.nan, finished_s=math.nan, service_s=0.0, preemptions=0, rejected=False, cached=0
        )
        if self.blocks_of(request) > self.blocks:
            row.rejected = True
            return
        force_setattr(request, "predicted_s", self.predictor.predict(request.input_length))
        force_setattr(request, "predicted_whole_s", request.predicted_s)
        self.waiting.append(request)
        self.refresh()
        self.outstanding[request.id] = request.predicted_s
        self.notice(now)

    def notice(self, now: float) -> None:
        """Something happened: begin a decision, or have the scheduler look at it later."""
        if self.unseen_s is None:
            self.unseen_s = now
        if self.decide_s < math.inf or self.chosen is not None:
            self.due = True
        elif not (self.waiting or self.started or self.paused):
            self.unseen_s = None
        elif self.running is None or (self.policy.cut != "none" and not self.at_cuts):
            self.begin_decision(now)

    def spend(self, begin_s: float, end_s: float) -> None:
        """Nothing happens from `begin_s` to `end_s`: what the device does meanwhile, unless it executes a pass."""
        if self.running is not None and self.event_s < math.inf:
            last = self.check_time(self.running, len(self.running.checks) - 1 if self.stop is None else self.stop)
            executing_s = min(max(last, begin_s), end_s) - min(max(self.began_s, begin_s), end_s)
            self.hand_over_s += end_s - begin_s - executing_s
        elif self.decide_s < math.inf:
            self.deciding_s += end_s - begin_s
        else:
            self.idle_s += end_s - begin_s

    def begin_decision(self, now: float) -> None:
        looked_at = len(self.waiting) + len(self.started) + len(self.paused) + (1 if self.running else 0)
        decision_s = self.cost.decision(looked_at)
        if self.running and self.event_s == math.inf and self.cost.proceed:
            self.other_s = self.stood_s + self.cost.acknowledge_s + decision_s + self.cost.resume_s
            decision_s = min(decision_s, self.stood_s + self.proceed_s(self.running) - now)
        self.thinks_s, self.decide_s = now, now + decision_s
        self.control_s += decision_s
        self.decisions += 1

    def proceed_s(self, batch: Batch) -> float:
        """From its stop at a cut until it runs on."""
        assert self.cost.proceed is not None
        return self.cost.proceed(min(batch.batch_tokens, self.server.max_batched_tokens))

    def ran_s(self, now: float) -> float:
        """How far the running pass has got, as it runs."""
        assert self.running is not None
        real_s = max(now - self.began_s, 0.0)
        return self.running.elapsed_s + (self.heat.work_s(real_s) if self.heat else real_s)

    def decide(self, now: float) -> None:
        self.now, self.decide_s = now, math.inf
        running, standing = self.running, self.event_s == math.inf
        if running is not None:
            running.measure(self.predictor, running.elapsed_s if standing else self.ran_s(now))
        choice: Any = self.policy.choose(self)  # type: ignore[arg-type]
        unseen_s, self.unseen_s, self.due = self.unseen_s, None, False
        if choice is None or choice is running:
            if running is not None and standing:
                begins_s = self.stood_s + self.proceed_s(running) if self.cost.proceed else now + self.cost.resume_s
                self.run(running, begins_s)
        elif running is None:
            self.launch(choice, now)
        elif standing:
            self.blocking_s.append(0.0 if unseen_s is None else now - unseen_s)
            self.suspend(running)
            self.launch(choice, now)
        else:
            self.signal(running, choice, now)

    def signal(self, running: Batch, choice: Any, now: float) -> None:
        self.chosen, self.signal_s = choice, now
        self.tokens_left = [request.tokens for request, _ in choice.parts]
        cuts = range(len(running.checks) - 1)
        waits_from_s = now if self.cost.tp > 1 else max(self.thinks_s, now - 1e-4)  # the runner, at a check
        since_s = self.ran_s(waits_from_s)
        ahead = [i for i in cuts if i > running.stopped and running.checks[i].at_s >= since_s]
        if self.cost.tp > 1:
            ahead = ahead[1:]
        if ahead:
            self.stop = ahead[0]
            stops_s = self.check_time(running, self.stop)
            self.event_s = max(stops_s, now) + self.cost.acknowledge_s
            self.hand_over_s += max(now - stops_s, 0.0)  # it has been standing there while the scheduler was deciding

    def check_time(self, running: Batch, index: int) -> float:
        return self.time_of(running, running.checks[index].at_s)

    def time_of(self, running: Batch, elapsed_s: float) -> float:
        """When the running pass gets there."""
        work_s = elapsed_s - running.elapsed_s
        return self.began_s + (self.heat.real_s(work_s) if self.heat else work_s)

    def heard(self, now: float) -> None:
        """The device has completed, stands at a cut, or has acknowledged that it stopped."""
        self.event_s = math.inf
        assert self.running is not None
        if self.stop is None:
            self.complete(self.running, self.check_time(self.running, len(self.running.checks) - 1), now)
            return
        stop, self.stop = self.stop, None
        self.stood_s = self.check_time(self.running, stop)
        self.log(self.running, self.stood_s, completed=False)
        self.running.stopped, self.running.elapsed_s = stop, self.running.checks[stop].at_s
        if self.at_cuts:
            self.begin_decision(now)
            return
        self.blocking_s.append(now - self.signal_s)
        chosen, self.chosen = self.chosen, None
        self.suspend(self.running)
        self.launch(chosen, now)
        if self.due:
            self.notice(now)

    def suspend(self, running: Batch) -> None:
        running.measure(self.predictor, running.elapsed_s)
        self.paused.append(running)
        self.running = None
        self.preemptions += 1
        for request in running.requests:
            self.rows[request.id].preemptions += 1

    def launch(self, choice: Any, now: float) -> None:
        if isinstance(choice, Batch):
            self.paused.remove(choice)
            self.run(choice, self.begins_s(now))
            return
        assert isinstance(choice, Pass)
        for request, tokens in choice.parts:
            assert 0 < tokens <= request.tokens
            if request in self.waiting:
                self.waiting.remove(request)
                self.holding.append(request)
                assert self.free_tokens >= 0
                self.kept = [block for block in self.kept if block not in self.held]
                self.rows[request.id].started_s, self.rows[request.id].cached = now, request.cached
            else:
                self.started.remove(request)
        self.refresh()
        self.launched += 1
        assert self.launched <= self.server.slots
        slices = [Slice(tokens, request.context) for request, tokens in choice.parts]
        sizes = max_batched_tokens, graph_tokens = self.server.max_batched_tokens, self.server.graph_tokens
        checks = walk(self.cost, slices, self.policy.cut, *sizes)
        unchecked = walk(self.cost, slices, "none", *sizes)
        if self.policy.cut == "none":
            checks = checks[-1:]
        batch = Batch(choice.parts, checks, unchecked[-1].at_s, device_work_s(self.cost, slices, *sizes))
        (tokens, context), alone = slices[0], len(slices) == 1
        if alone and not context and tokens <= min(graph_tokens, max_batched_tokens):
            batch.recorded = math.ceil(tokens / 64) * 64
        self.run(batch, self.begins_s(now))

    def begins_s(self, now: float) -> float:
        """When the pass that has been chosen begins."""
        return now + self.cost.resume_s if self.other_s == math.inf else self.other_s

    def run(self, batch: Batch, now: float) -> None:
        self.running, self.began_s, self.other_s = batch, now, math.inf
        if self.heat and self.cost.boost:
            share = min(batch.device_s / batch.duration_s, 1.0) if batch.duration_s else 1.0
            self.heat.becomes(now, share, share * self.gain(batch, self.cost.boost))
        self.stop = None
        if self.at_cuts and batch.stopped + 1 < len(batch.checks) - 1:
            self.stop = batch.stopped + 1
        end = self.check_time(batch, len(batch.checks) - 1 if self.stop is None else self.stop)
        known_s = self.cost.complete_s if self.stop is None else self.cost.acknowledge_s
        if self.stop is not None and self.cost.proceed:
            known_s = min(known_s, self.proceed_s(batch))
        self.event_s = end + known_s

    def gain(self, batch: Batch, boost: PowerModel) -> float:
        """What the batch gains on a rested GPU."""
        if batch.recorded and boost.recorded_gain:
            return boost.recorded_gain(batch.recorded)
        return boost.gain(min(batch.batch_tokens, self.server.max_batched_tokens))

    def complete(self, batch: Batch, ended_s: float, now: float) -> None:
        self.log(batch, ended_s, completed=True)
        self.busy_s += batch.taken_s
        if batch.duration_s:
            self.check_s += batch.taken_s * (1 - batch.unchecked_s / batch.duration_s)
        self.running = None
        self.launched -= 1
        for request, tokens in batch.parts:
            row = self.rows[request.id]
            row.service_s += batch.taken_s
            force_setattr(request, "context", request.context + tokens)
            force_setattr(request, "tokens", request.tokens - tokens)
            self.kept = [block for block in self.kept if block not in self.held]
            if request.tokens:
                force_setattr(request, "predicted_s", self.predictor.predict(request.tokens, request.context))
                self.started.append(request)
            else:
                row.finished_s = ended_s
                self.release(request)
                del self.outstanding[request.id]
        self.refresh()
        if self.chosen is not None:
            self.blocking_s.append(now - self.signal_s)
            chosen, self.chosen = self.chosen, None
            if isinstance(chosen, Pass):
                parts = zip(chosen.parts, self.tokens_left, strict=True)
                chosen = Pass(
                    tuple((r, r.tokens if tokens == left else min(tokens, r.tokens)) for (r, tokens), left in parts)
                )
            self.launch(chosen, now)
        self.notice(now)

    def log(self, batch: Batch, end_s: float, *, completed: bool) -> None:
        ids = tuple(request.id for request in batch.requests)
        batch.taken_s += end_s - self.began_s
        if self.heat:
            self.heat.becomes(end_s, 0.0)
        self.stretches.append((self.began_s, end_s, ids, completed))

    def close(self, now: float) -> None:
        """Count what was computed of passes that have not completed, and of a decision what was made by now."""
        if self.decide_s < math.inf:
            self.control_s -= self.decide_s - now
        if self.running is not None and self.event_s < math.inf:
            last = self.running.checks[-1 if self.stop is None else self.stop]
            reached = min(self.ran_s(now), last.at_s)
            if now > self.began_s:
                self.log(self.running, self.time_of(self.running, reached), completed=False)
            self.running.elapsed_s = reached
        self.busy_s += sum(batch.taken_s for batch in [*self.paused, *([self.running] if self.running else [])])


@dataclass
class Reference:
    """The outcome of a replay: rows by request id, the site of each, and the sites with their logs."""

    sites: list[Site]
    instance: dict[int, int] = field(default_factory=dict)
    end_s: float = 0.0

    @property
    def rows(self) -> dict[int, SimpleNamespace]:
        return {id: row for site in self.sites for id, row in site.rows.items()}


def step_through(
    requests: Sequence[Request],
    policy: Policy,
    cost: CostModel,
    predictor: Predictor,
    server: ServerOptions,
    until_s: float = math.inf,
    prefixes: Prefixes | None = None,
) -> Reference:
    """Replay requests (in order of arrival) the slow way."""
    sites = [Site(policy, cost, predictor, server, prefixes) for _ in range(server.instances)]
    result = Reference(sites)
    coming, last = list(requests), 0.0
    while True:
        times = [coming[0].arrival_s if coming else math.inf]
        times += [min(site.event_s, site.decide_s) for site in sites]
        now = min(times)
        if now == math.inf and until_s == math.inf:
            break
        for site in sites:
            site.spend(last, min(now, until_s))
        last = min(now, until_s)
        if now >= until_s:
            break
        while coming and coming[0].arrival_s == now:
            request = coming.pop(0)
            turn = len(result.instance) % len(sites)
            least = min(range(len(sites)), key=lambda i: (sites[i].work_s, i))
            result.instance[request.id] = index = turn if server.router == "round-robin" else least
            sites[index].arrive(request, now)
        for site in sites:
            if site.event_s == now:
                site.heard(now)
        for site in sites:
            if site.decide_s == now:
                site.decide(now)
    result.end_s = last
    for site in sites:
        site.close(last)
    return result
