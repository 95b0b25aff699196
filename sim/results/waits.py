"""The time to first token of a request, in parts that add up to it; a fold over what its device did.

At each moment between its arrival and its first token the device of a request's instance does one thing. The PARTS are:

    alone    its own passes, up to the least time that it would take alone (`RunResult.alone_s`)
    batched  its own passes beyond that: batched with others, in chunks, with checks, or on a GPU that has not rested
    paused   passes without it, after the first pass with it was launched
    blocked  a pass that is due later and was under way when it arrived, or has been told to stop
    earlier  a pass that is due no later than it: the earliest deadline among its requests counts
    later    any other pass
    host     the scheduler decides, or word of a pass or an order is on its way
    idle     the device has nothing to do, as far as the scheduler says

A request without a first token waits until it is rejected or the replay ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowsim.core.events import Rejected
from flowsim.errors import InputError
from flowsim.results.device_pieces import HOST, IDLE, Piece, device_pieces
from flowsim.results.metrics import UNFINISHED
from flowsim.results.quantiles import Floats
from flowsim.results.result import RunResult

PARTS = ("alone", "batched", "paused", "blocked", "earlier", "later", "host", "idle")
ALONE, BATCHED, PAUSED, BLOCKED, EARLIER, LATER, FOR_HOST, IDLING = range(len(PARTS))


class Wait(NamedTuple):
    """What a device did from a request's arrival to its first token: `first` of its pieces and those that follow.

    Of each: from when to when it made the request wait, seconds, and the place of its part in PARTS, BATCHED left out.
    """

    first: int
    began_s: Floats
    ended_s: Floats
    parts: NDArray[np.int64]


def known_alone_s(result: RunResult) -> Floats:
    """The least TTFT of each request alone, shape [n], seconds. InputError: the run was made without `events=True`."""
    if result.alone_s is None:
        raise InputError("events", "were not kept", expected="a run with events=True")
    return result.alone_s


class DeviceHistory:
    """The pieces of an instance's device as arrays, and the requests whose TTFT they make up."""

    def __init__(self, result: RunResult, did: Sequence[Piece], due_s: Floats, until_s: Floats) -> None:
        self.pieces = did
        self._alone_s, self._due_s, self._until_s = known_alone_s(result), due_s, until_s
        self._arrival_s, self._started_s = result.trace.arrival_s, result.metrics.started_s
        self._began_s, self._ended_s, self._ordered_s = (
            np.array([piece[field] for piece in did], float) for field in (0, 1, 4)
        )
        self._kind = np.array([piece.kind for piece in did], int)
        self._signalled = np.array([piece.signalled for piece in did], bool)
        self._first_due_s = np.array([min((due_s[id] for id in piece.members), default=np.inf) for piece in did])
        self._own: dict[int, list[int]] = {}
        for place, piece in enumerate(did):
            for id in piece.members:
                self._own.setdefault(id, []).append(place)

    def parts_s(self, id: int) -> Floats:
        """Seconds of each of PARTS, shape [len(PARTS)]."""
        wait = self.wait(id)
        found = np.bincount(wait.parts, wait.ended_s - wait.began_s, len(PARTS)).astype(float)
        found[BATCHED] = max(found[ALONE] - self._alone_s[id], 0.0)
        found[ALONE] -= found[BATCHED]
        return found

    def wait(self, id: int) -> Wait:
        """What the device did while a request waited for its first token."""
        arrival_s, until_s = self._arrival_s[id], self._until_s[id]
        first = int(np.searchsorted(self._ended_s, arrival_s, "right"))
        here = slice(first, max(int(np.searchsorted(self._began_s, until_s, "left")), first))
        own = np.zeros(here.stop - first, bool)
        own[[place - first for place in self._own.get(id, ()) if here.start <= place < here.stop]] = True
        under_way = self._signalled[here] | (self._ordered_s[here] < arrival_s)
        parts = np.select(
            [
                own,
                self._kind[here] == HOST,
                self._kind[here] == IDLE,
                self._began_s[here] >= self._started_s[id],
                self._first_due_s[here] <= self._due_s[id],
                under_way,
            ],
            [ALONE, FOR_HOST, IDLING, PAUSED, EARLIER, BLOCKED],
            LATER,
        )
        began_s, ended_s = np.maximum(self._began_s[here], arrival_s), np.minimum(self._ended_s[here], until_s)
        return Wait(first, began_s, ended_s, parts)


def device_histories(result: RunResult) -> list[DeviceHistory]:
    """The device of each instance. InputError: the run was made without `events=True`."""
    outcome, metrics = result.outcome, result.metrics
    slo_s = result.slo.ttft_slo_s
    due_s = result.trace.arrival_s + np.where(np.isnan(slo_s), np.inf, slo_s)
    until_s = np.where(metrics.state == UNFINISHED, outcome.stopped_s, metrics.finished_s)
    for events in result.events:
        for event in events:
            if isinstance(event, Rejected):
                until_s[event.request] = event.time_s
    return [
        DeviceHistory(result, list(device_pieces(events, outcome.stopped_s)), due_s, until_s)
        for events in result.events
    ]
