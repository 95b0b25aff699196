"""Whom to serve when not everyone can be in time: D-over, and the admission of SLOs-Serve."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Any, ClassVar, cast

from flowsim.core.operators import Cut
from flowsim.core.order import Candidate
from flowsim.core.passes import Decision, Execution, Pass
from flowsim.core.policy import View, Wake
from flowsim.core.request import Request
from flowsim.errors import InputError, unknown
from flowsim.policies.parts.admission import LATEST_START, Admitted
from flowsim.policies.parts.batching import check_positive
from flowsim.policies.parts.orders import ARRIVAL, EARLIEST, S_EDF

VALUES: Mapping[str, Callable[[Candidate], int]] = {
    "requests": lambda candidate: 1,
    "tokens": lambda candidate: candidate.input_length,
}
"""What a request in time is worth to D-over."""


@dataclass(frozen=True, kw_only=True)
class DOver:
    """Earliest deadline first, preempting only what will still be in time; what runs out of slack meanwhile is dropped.

    After Koren and Shasha (RTSS 1992), of which the abstract was read; the rules are those of textbooks. A request that
    arrives preempts if it is due earlier and fits into the slack of what runs and of the privileged, which are those
    preempted so. At a completion, the earliest deadline of the others goes next under the same test, else that of the
    privileged. When another runs out of slack (t = d - c(n), a timer), it takes over if its value exceeds
    (1 + sqrt(k)) times that of the running and the privileged, which lose their privilege; else it is rejected. With
    value=requests none ever takes over. What takes over is late by the time of the decision, where decisions take
    time. What has begun cannot be rejected here: once it is late, it holds up nothing and goes last.

    Attributes:
        cut: where a running pass may be preempted: none, chunk, layer, block or operator.
        value: what a request in time is worth: 1 (requests), or its length (tokens).
        k: largest value per second of work over the smallest.
    """

    wake: ClassVar[Wake] = "events"
    cut: Cut = "operator"
    value: str = "requests"
    k: float = 1.0
    privileged: set[int] = field(default_factory=set, init=False, repr=False, compare=False)
    arrived: list[Request] = field(default_factory=list, init=False, repr=False, compare=False)
    decided_s: list[float] = field(default_factory=lambda: [-math.inf], init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.value not in VALUES:
            raise unknown("value", self.value, VALUES)
        if not self.k >= 1:
            raise InputError("option k", found=self.k, expected=">= 1")

    def on_arrival(self, request: Request, view: View) -> None:
        """Remember it for the next decision."""
        self.arrived.append(request)

    def choose(self, view: View) -> Decision:
        """What runs, who is rejected, and when the next one runs out of slack."""
        now = view.now
        running = None if view.running is None or _late(view.running, now) else view.running
        self.privileged.intersection_update(paused.id for paused in view.paused if not _late(paused, now))
        held: list[Candidate] = [paused for paused in view.paused if paused.id in self.privileged]
        others: list[Candidate] = [paused for paused in view.paused if paused.id not in self.privileged]
        starts = [_start_s(one) for one in [*held, *others]]
        if running is not None:
            held.append(running)
            starts.append(running.deadline_s)
        late = list(takewhile(lambda request: _start_s(request) <= now, view.ranked(LATEST_START)))
        run = self._taking_over(view, held, [*others, *late])
        rejected = [request for request in late if request is not run]
        view = cast(View, Admitted(view, rejected)) if rejected else view
        if run is not None:
            self.privileged.clear()
        else:
            run = self._next(view, running, held, others)
            self.privileged.update([] if running is None or run is running else [running.id])
            self.privileged.difference_update([] if run is None else [run.id])
        self.arrived.clear()
        self.decided_s[0] = now
        starts += map(_start_s, islice(view.ranked(LATEST_START), 1))
        wake_at = min([start_s for start_s in starts if start_s > now], default=math.inf)
        return Decision(_launched(run), rejected, wake_at)

    def _taking_over(self, view: View, held: Sequence[Candidate], late: Iterable[Candidate]) -> Candidate | None:
        """The one whose slack is gone since the last decision, if it is worth more than all that is held; else None."""
        if not held:
            return None
        worth, factor = VALUES[self.value], 1 + math.sqrt(self.k)
        possible = [one for one in late if self._ran_out(one, view.now) and _fits(view, one)]
        best = max(possible, key=worth, default=None)
        return best if best is not None and worth(best) > factor * sum(map(worth, held)) else None

    def _ran_out(self, one: Candidate, now: float) -> bool:
        """Whether it had slack when it came, and lost the last of it since the last decision."""
        return max(one.arrival_s, math.nextafter(self.decided_s[0], math.inf)) <= _start_s(one) <= now

    def _next(
        self, view: View, running: Execution | None, held: Sequence[Candidate], others: Iterable[Candidate]
    ) -> Candidate | None:
        """The earliest deadline that makes nothing held late; else the earliest that is held; else anything."""
        if running is not None:
            current: Candidate | None = running
            possible: list[Candidate] = [one for one in self.arrived if _start_s(one) > view.now]
        else:
            current = min(held, key=_due, default=None)
            possible = [one for one in [*others, view.next_waiting(EARLIEST)] if one and _start_s(one) > view.now]
        possible = [one for one in possible if _fits(view, one) and (current is None or _due(one) < _due(current))]
        fitting = [one for one in possible if one.predicted_s <= _room_s(view, held)]
        return min(fitting, key=_due, default=None) or current or view.first(S_EDF)


@dataclass(frozen=True, kw_only=True)
class SLOsServe:
    """Earliest deadline first among requests that it promised to serve in time, chosen by a dynamic programme.

    After SLOs-Serve (arXiv 2504.08784), of which the abstract and summaries were read: the candidates by deadline, and
    for each number of requests accepted the plan that ends first. New requests are accepted so that most are in time
    and every promise is kept; a promise binds until its first token, or until it cannot be kept. Others are served when
    no promise is left, in order of arrival: its admission is soft. The paper plans the tokens of steps shared with
    decodes and speculation, and values by application; here the budget is predicted seconds, one prompt a pass, and
    each request counts as one. `moore-hodgson` plans anew at each decision, without promises.

    Attributes:
        cut: where a running pass may be preempted: none, chunk, layer, block or operator.
        candidates: most new requests of one plan; the others wait for the next.
    """

    wake: ClassVar[Wake] = "events"
    cut: Cut = "chunk"
    candidates: int = 64
    new: dict[int, Request] = field(default_factory=dict, init=False, repr=False, compare=False)
    promised: dict[int, Request] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_positive(self, "candidates")

    def on_arrival(self, request: Request, view: View) -> None:
        """A candidate of the next plan; whoever has no SLO is promised nothing, and needs no plan."""
        if request.slo_s < math.inf:
            self.new[request.id] = request

    def on_completion(self, execution: Execution, view: View) -> None:
        """A promise is kept, or broken."""
        for request in execution.requests:
            if not request.tokens:
                self.new.pop(request.id, None)
                self.promised.pop(request.id, None)

    def choose(self, view: View) -> Pass | Execution | None:
        """The earliest deadline of the promised that can be launched, else the first to arrive."""
        at_work: dict[int, Candidate] = {request.id: request for request in view.started}
        for execution in [*view.paused, *([] if view.running is None else [view.running])]:
            at_work |= dict.fromkeys(execution.members, execution)
        self._promise(view, at_work)
        possible = [one for one in _present(self.promised, at_work) if one.id in at_work or _fits(view, one)]
        return _launched(min(possible, key=_due, default=None) or view.first(ARRIVAL))

    def _promise(self, view: View, at_work: Mapping[int, Candidate]) -> None:
        """Take back the promises that cannot be kept, and make those of the next plan."""
        for id, request in list(self.promised.items()):
            if _late(at_work.get(id, request), view.now):
                del self.promised[id]
        new = dict(islice(self.new.items(), self.candidates))
        accepted = plan(view.now, _present(self.promised, at_work), _present(new, at_work)) if new else []
        self.promised.update((id, new[id]) for id in accepted)
        for id in new:
            del self.new[id]


def plan(now: float, bound: Sequence[Candidate], new: Sequence[Candidate]) -> list[int]:
    """Ids of the most new candidates that can be in time, one after another, with none of the bound late by them.

    By number of new ones taken, the least time at which the candidates so far end: O((bound + new) * new).
    """
    ids = {candidate.id for candidate in new}
    plans: dict[int, tuple[float, Any]] = {0: (now, None)}
    for one in sorted([*bound, *new], key=_due):
        longer = {taken: (end_s + one.predicted_s, chosen) for taken, (end_s, chosen) in plans.items()}
        if one.id not in ids:  # late without any new one: a promise that binds no more
            late = longer[0][0] > one.deadline_s
            plans = {taken: way for taken, way in longer.items() if late or way[0] <= one.deadline_s}
            continue
        for taken, (end_s, chosen) in longer.items():
            if end_s <= one.deadline_s and end_s < plans.get(taken + 1, (math.inf,))[0]:
                plans[taken + 1] = (end_s, (one.id, chosen))
    chosen, found = plans[max(plans)][1], list[int]()
    while chosen is not None:
        found.append(chosen[0])
        chosen = chosen[1]
    return found


def _room_s(view: View, held: Iterable[Candidate]) -> float:
    """Seconds by which all of these can be put off with none of them late."""
    end_s, room_s = view.now, math.inf
    for one in sorted(held, key=_due):
        end_s += one.predicted_s
        room_s = min(room_s, one.deadline_s - end_s)
    return room_s


def _launched(candidate: Candidate | None) -> Pass | Execution | None:
    """A request as a pass of its own; an execution as it is."""
    return Pass.whole(candidate) if isinstance(candidate, Request) else candidate


def _fits(view: View, candidate: Candidate) -> bool:
    return not isinstance(candidate, Request) or view.fits(candidate)


def _present(requests: Mapping[int, Request], at_work: Mapping[int, Candidate]) -> list[Candidate]:
    """What stands for these requests now: the executions that they are in, or themselves."""
    found = [at_work.get(id, request) for id, request in requests.items()]
    return list({one.id: one for one in found}.values())


def _due(candidate: Candidate) -> tuple[float, float, int]:
    return candidate.deadline_s, candidate.arrival_s, candidate.id


def _start_s(candidate: Candidate) -> float:
    """When it must begin at the latest."""
    return candidate.deadline_s - candidate.predicted_s


def _late(candidate: Candidate, now: float) -> bool:
    """Whether it cannot be in time even if it runs at once, rounding errors aside, or is due now and still at work."""
    return _start_s(candidate) < now - 1e-9 or candidate.deadline_s <= now
