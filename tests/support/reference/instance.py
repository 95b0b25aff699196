"""An instance: what waits, runs and is paused on it, and what it decides; also the view that its policy gets."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

from msgspec.structs import force_setattr

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.power import PowerModel
from flowsim.core.pass_timeline import Slice
from flowsim.core.passes import Pass
from flowsim.core.policy import Policy
from flowsim.core.predictor import Predictor
from flowsim.core.prefix_cache import Prefixes
from flowsim.core.request import Request, reuse
from flowsim.core.server import ServerOptions
from support.reference.blocks import Blocks
from support.reference.passes import CHECKED_AFTER, Batch, device_work_s, issued, walk
from support.reference.power import Heat


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
        self.policy, self.cost, self.predictor, self.server = policy, cost, predictor, server
        self.at_cuts = policy.wake == "cuts" and policy.cut != "none"
        self.now = 0.0
        self.waiting: list[Request] = []
        self.started: list[Request] = []
        self.paused: list[Batch] = []
        self.running: Batch | None = None
        total = (server.kv_tokens or cost.kv_capacity_tokens) // server.block_tokens
        self.kv = Blocks(total, server.block_tokens, prefixes)
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
        return self.kv.free_tokens

    @property
    def free_slots(self) -> int:
        return self.server.slots - self.launched

    def predict(self, tokens: int, context: int = 0) -> float:
        return self.predictor.predict(tokens, context)

    def fits(self, request: Request) -> bool:
        return self.free_slots > 0 and (request in self.started or self.kv.fits(request))

    def first(self, order: Any) -> Any:
        def best(candidates: list[Any]) -> Any:
            return min(candidates, key=lambda candidate: order.rank(candidate, self.now), default=None)

        started = self.started if self.free_slots > 0 else []
        others = [*started, *self.paused, *([self.running] if self.running else [])]
        found = best(others + self.waiting)
        if found in self.waiting and not self.fits(found):
            return best(others)
        return found

    def next_waiting(self, order: Any, last: Request | None = None, max_tokens: int = 1 << 62) -> Any:
        ranked = self.ranked(order)
        if last is not None:
            ranked = [r for r in ranked if order.rank(r, self.now) > order.rank(last, self.now)]
        return next((request for request in ranked if request.tokens <= max_tokens), None)

    def ranked(self, order: Any) -> list[Request]:
        return sorted(self.waiting, key=lambda request: order.rank(request, self.now))

    # What happens.

    def refresh(self) -> None:
        """Evict what there is no room for, and look up anew what is cached of every waiting request."""
        if self.kv.prefixes is None:
            return
        self.kv.evict()
        for request, known in zip(self.waiting, self.kv.cached_tokens(self.waiting), strict=True):
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
        if self.kv.blocks_of(request) > self.kv.total:
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
                self.kv.hold(request)
                self.rows[request.id].started_s, self.rows[request.id].cached = now, request.cached
            else:
                self.started.remove(request)
        self.refresh()
        self.launched += 1
        assert self.launched <= self.server.slots
        slices = [Slice(tokens, request.context) for request, tokens in choice.parts]
        sizes = max_batched_tokens, graph_tokens = self.server.max_batched_tokens, self.server.graph_tokens
        parts = issued(self.cost, slices, *sizes)
        checks = unchecked = walk(self.cost, parts, "none")
        if CHECKED_AFTER[self.policy.cut]:
            checks = walk(self.cost, parts, self.policy.cut)
        if self.policy.cut == "none":
            checks = checks[-1:]
        batch = Batch(choice.parts, checks, unchecked[-1].at_s, device_work_s(self.cost, parts))
        head, alone = slices[0], len(slices) == 1
        if alone and not head.context and head.tokens <= min(graph_tokens, max_batched_tokens):
            batch.recorded = math.ceil(head.tokens / 64) * 64
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
            self.kv.take_held()
            if request.tokens:
                force_setattr(request, "predicted_s", self.predictor.predict(request.tokens, request.context))
                self.started.append(request)
            else:
                row.finished_s = ended_s
                self.kv.release(request)
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
