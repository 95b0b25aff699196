"""The time to first token of a request, in parts that add up to it; a fold over what its device did.

At each moment between its arrival at the scheduler and its first token the device of a request's instance does one
thing. With what the serving stack takes before and after, the PARTS are:

    alone         its own passes, up to the time that it takes alone (`Hindsight.alone_s`), without that of the stack
    stack         its own passes: host time that the serving engine adds to each of their forwards
    batched       its own passes beyond that, as long as other requests shared them
    slower        its own passes beyond that: in chunks, with checks, or on a GPU that has not rested
    paused        passes without it, after a pass with it was preempted
    between       passes without it, after a pass with a part of it had completed
    blocked       a pass that is due later and was under way when it arrived, or has been told to stop
    earlier       a pass that is due no later than it: the earliest deadline among its requests counts
    later         any other pass
    mispredicted  a pass without it that would not have run had the policy, when it decided that, known what all takes
    host          the scheduler decides, or word of a pass or an order is on its way
    idle          the device has nothing to do, as far as the scheduler says
    frontend      from the client's send until the scheduler has it
    return        from its first token until the client has it

A request without a first token waits until it is rejected or the replay ends.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowsim.clairvoyant.hindsight import Hindsight
from flowsim.core.events import Launched
from flowsim.errors import InputError
from flowsim.results.device_pieces import HOST, IDLE, device_pieces
from flowsim.results.metrics import FINISHED, UNFINISHED
from flowsim.results.quantiles import Floats
from flowsim.results.result import RunResult

PARTS = (
    "alone", "stack", "batched", "slower", "paused", "between", "blocked", "earlier", "later", "mispredicted", "host",
    "idle", "frontend", "return",
)  # fmt: skip
(
    ALONE, STACK, BATCHED, SLOWER, PAUSED, BETWEEN, BLOCKED, EARLIER, LATER, MISPREDICTED, FOR_HOST, IDLING, BEFORE,
    AFTER,
) = range(len(PARTS))  # fmt: skip


class Wait(NamedTuple):
    """What a device did from when the scheduler had a request to its first token: `first` of its pieces and the next.

    Of each: from when to when it made the request wait, seconds, and the place of its part in PARTS; ALONE stands for
    all of its own passes.
    """

    first: int
    began_s: Floats
    ended_s: Floats
    parts: NDArray[np.int64]


def hindsight(result: RunResult) -> Hindsight:
    """What is known of a run in hindsight. InputError: it was made without `events=True`."""
    if result.hindsight is None:
        raise InputError("events", "were not kept", expected="a run with events=True")
    return result.hindsight


class Times(NamedTuple):
    """The times of all requests of a run, each with shape [n], seconds.

    Attributes:
        sent_s: when the client sent it.
        came_s: when the scheduler had it, if the replay went on until then.
        until_s: when its first token was there, it was rejected, or the replay ended.
        due_s: its deadline; infinite for none.
        return_s: from its first token until the client has it; 0 without one.
    """

    sent_s: Floats
    came_s: Floats
    until_s: Floats
    due_s: Floats
    return_s: Floats

    @classmethod
    def of(cls, result: RunResult) -> Times:
        """Those of a run."""
        outcome, metrics, sent_s = result.outcome, result.metrics, result.trace.arrival_s
        slo_s = result.slo.ttft_slo_s
        return_s = np.where(metrics.state == FINISHED, outcome.return_s, 0.0)
        until_s = np.fmin(outcome.ledger.finished_s, outcome.ledger.rejected_s)
        until_s = np.where(metrics.state == UNFINISHED, outcome.stopped_s, until_s)
        came_s = np.maximum(np.fmin(outcome.ledger.arrived_s, until_s), sent_s)
        return cls(sent_s, came_s, until_s, sent_s + np.where(np.isnan(slo_s), np.inf, slo_s), return_s)


class DeviceHistory:
    """The pieces of an instance's device as arrays, and the requests whose TTFT they make up.

    Attributes:
        pieces: what the device did.
    """

    def __init__(self, result: RunResult, instance: int, times: Times) -> None:
        known, events = hindsight(result), result.events[instance]
        self.pieces = list(device_pieces(events, result.outcome.stopped_s, known.judged.get(instance, ())))
        did, server, self._times = self.pieces, known.workload.server, times
        tokens = result.trace.input_length - result.cached
        self._alone_s = known.alone_s - [server.stack_s([n]) for n in tokens.tolist()]
        self._began_s, self._ended_s = (np.array([piece[field] for piece in did], float) for field in (0, 1))
        self._ordered_s, self._wrong_s = (
            np.array([getattr(piece, name) for piece in did], float) for name in ("ordered_s", "wrong_s")
        )
        self._kind = np.array([piece.kind for piece in did], int)
        self._signalled, self._completes = (
            np.array([getattr(piece, name) for piece in did], bool) for name in ("signalled", "completes")
        )
        self._shared = np.array([len(piece.members) > 1 for piece in did], bool)
        self._first_due_s = np.array([min((times.due_s[id] for id in piece.members), default=np.inf) for piece in did])
        self._own: dict[int, list[int]] = {}
        for place, piece in enumerate(did):
            for id in piece.members:
                self._own.setdefault(id, []).append(place)
        self._stack_s: dict[int, float] = {}
        for event in events if server.host_s or server.host_request_s else ():
            if isinstance(event, Launched):
                for id in event.members:
                    self._stack_s[id] = self._stack_s.get(id, 0.0) + server.stack_s(event.tokens)

    def parts_s(self, id: int) -> Floats:
        """Seconds of each of PARTS, shape [len(PARTS)]."""
        wait, times = self.wait(id), self._times
        lasted_s = wait.ended_s - wait.began_s
        found = np.bincount(wait.parts, lasted_s, len(PARTS)).astype(float)
        own_s, shared = float(found[ALONE]), self._shared[wait.first : wait.first + len(lasted_s)]
        found[STACK] = min(self._stack_s.get(id, 0.0), own_s)
        found[ALONE] = min(max(float(self._alone_s[id]), 0.0), own_s - found[STACK])
        beyond_s = max(own_s - found[STACK] - found[ALONE], 0.0)
        found[BATCHED] = min(float(lasted_s[shared & (wait.parts == ALONE)].sum()), beyond_s)
        found[SLOWER] = beyond_s - found[BATCHED]
        found[BEFORE], found[AFTER] = times.came_s[id] - times.sent_s[id], times.return_s[id]
        return found

    def wait(self, id: int) -> Wait:
        """What the device did while a request waited for its first token."""
        came_s, until_s = self._times.came_s[id], self._times.until_s[id]
        first = int(np.searchsorted(self._ended_s, came_s, "right"))
        here = slice(first, max(int(np.searchsorted(self._began_s, until_s, "left")), first))
        own = np.zeros(here.stop - first, bool)
        ran = [place for place in self._own.get(id, ()) if here.start <= place < here.stop]
        own[[place - first for place in ran]] = True
        last = np.searchsorted(ran, np.arange(here.start, here.stop)) - 1  # the latest of its own pieces before
        begun = last >= 0
        completed = begun & self._completes[ran][last] if ran else begun
        parts = np.select(
            [
                own,
                self._kind[here] == HOST,
                self._kind[here] == IDLE,
                self._wrong_s[here] >= came_s,
                completed,
                begun,
                self._first_due_s[here] <= self._times.due_s[id],
                self._signalled[here] | (self._ordered_s[here] < came_s),
            ],
            [ALONE, FOR_HOST, IDLING, MISPREDICTED, BETWEEN, PAUSED, EARLIER, BLOCKED],
            LATER,
        )
        began_s, ended_s = np.maximum(self._began_s[here], came_s), np.minimum(self._ended_s[here], until_s)
        return Wait(first, began_s, ended_s, parts)
