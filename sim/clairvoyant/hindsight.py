"""What is known of a run in hindsight: what each request takes alone, and which passes a wrong prediction chose.

To find those the run is repeated twice. First its policy believes its predictor again, and what it decides is noted.
Then it is asked at the same moments while the predictor is exact, and what was noted is done whatever it answers: the
costs of passes do not depend on the predictor, so that all happens as before. Whether a rejection was a mistake is seen
where the run is repeated freely with an exact predictor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.calibration.costs.predictor import SoloPredictor, make_predictor
from flowsim.clairvoyant.bound import Clairvoyant, Flags, in_time
from flowsim.clairvoyant.demand import Floats, alone_s
from flowsim.core.passes import Decision, Execution, Pass
from flowsim.core.policy import AroundPolicy, Policy, View
from flowsim.core.predictor import Predictor
from flowsim.core.request import Request
from flowsim.core.router import Routable
from flowsim.engine.simulate import Outcome
from flowsim.errors import InputError


class Judged(NamedTuple):
    """A decision of a run, beside what its policy would have decided had it known what everything takes.

    Attributes:
        time_s: when.
        stays: whether the running pass went on, or nothing ran and nothing was chosen.
        wrong: whether the other decision would have had another pass run.
    """

    time_s: float
    stays: bool
    wrong: bool


@dataclass(frozen=True, eq=False)
class Hindsight:
    """What is known in hindsight; each part is worked out once, when it is first asked for.

    Attributes:
        workload: the requests as they came, what passes cost, and the server.
        policy: whom the run asked.
        predictor: what it believed.
        requests: makes the requests as the run was given them, fresh each time.
        replay: what the run did with them, `simulate` with all else that it was given; takes requests, a policy, and
            keywords.
    """

    workload: Clairvoyant
    policy: Policy
    predictor: Predictor
    requests: Callable[[], list[Request]]
    replay: Callable[..., Outcome]

    @cached_property
    def alone_s(self) -> Floats:
        """Seconds of each request on the device, alone on a rested GPU in forwards of the server's size, shape [n]."""
        workload = self.workload
        return alone_s(workload.requests(), workload.costs, workload.server, workload.prefixes)

    @cached_property
    def judged(self) -> Mapping[int, Sequence[Judged]]:
        """The decisions of each instance, by its number; empty with an exact predictor, which misleads no policy.

        A policy that keeps a state is judged as if it had known the costs all along. If the run brings it to where it
        cannot decide, the decisions from there on are not judged.
        """
        if self._is_exact:
            return {}
        noting = Noting(self.policy)
        first = self.replay(self.requests(), noting, predictor=self.predictor)
        requests = self.requests()
        following = Following(self.policy, noting.made, requests)
        router = Routed(first.ledger.instance)
        with suppress(InputError):  # the policy could not go on
            self.replay(requests, following, predictor=self._exact, router=router)
        return following.judged

    @cached_property
    def exactly_in_time(self) -> Flags:
        """Which requests the policy serves in time when the run is repeated with an exact predictor, shape [n].

        None, where the run's own is exact or the policy cannot go on with an exact one.
        """
        requests = self.requests()
        served = np.zeros(len(requests), bool)
        if not self._is_exact:
            with suppress(InputError):
                outcome = self.replay(requests, self.policy, predictor=self._exact)
                served = in_time(requests, outcome, self.workload.server.return_s)
        return served

    @cached_property
    def _exact(self) -> SoloPredictor:
        return make_predictor("exact", PassCosts(self.workload.costs, self.workload.server, self.policy.cut))

    @property
    def _is_exact(self) -> bool:
        return getattr(self.predictor, "name", None) == self._exact.name


class Noted(NamedTuple):
    """What a policy has decided: the head of what runs, and for a new pass (id, tokens) of its members."""

    head: int | None
    parts: tuple[tuple[int, int], ...] = ()
    rejected: tuple[int, ...] = ()
    wake_at: float | None = None

    @classmethod
    def of(cls, chosen: Pass | Execution | Decision | None) -> Noted:
        """What was chosen, by the ids of the requests."""
        decision = chosen if isinstance(chosen, Decision) else Decision(chosen)
        run, rejected = decision.run, tuple(request.id for request in decision.reject)
        parts = tuple((request.id, tokens) for request, tokens in run.parts) if isinstance(run, Pass) else ()
        head = parts[0][0] if parts else run.id if isinstance(run, Execution) else None
        return cls(head, parts, rejected, decision.wake_at)


class Noting(AroundPolicy):
    """A policy whose decisions are noted.

    Attributes:
        made: by the number of the instance.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.made: dict[int, list[Noted]] = {}

    def choose(self, view: View) -> Pass | Execution | Decision | None:
        """What the policy chooses."""
        chosen = self.policy.choose(view)
        self.made.setdefault(view.instance, []).append(Noted.of(chosen))
        return chosen


class Following(AroundPolicy):
    """A policy that is asked, but what is done is what was decided before.

    Args:
        policy: is asked.
        made: what was decided, by the number of the instance.
        requests: all requests, by id.

    Attributes:
        judged: by the number of the instance.
    """

    def __init__(self, policy: Policy, made: Mapping[int, Sequence[Noted]], requests: Sequence[Request]) -> None:
        super().__init__(policy)
        self.judged: dict[int, list[Judged]] = {number: [] for number in made}
        self._made: Mapping[int, Iterator[Noted]] = {number: iter(choices) for number, choices in made.items()}
        self._requests = np.array(requests, object)

    def choose(self, view: View) -> Decision:
        """What was decided before."""
        was, other = next(self._made[view.instance]), Noted.of(self.policy.choose(view))
        running = None if view.running is None else view.running.id
        head, instead = (running if choice.head is None else choice.head for choice in (was, other))
        self.judged[view.instance].append(Judged(view.now, head == running, head != instead))
        return Decision(self._again(view, was), [self._requests[id] for id in was.rejected], was.wake_at)

    def _again(self, view: View, choice: Noted) -> Pass | Execution | None:
        if choice.parts:
            return Pass(tuple((self._requests[id], tokens) for id, tokens in choice.parts))
        there = (*view.paused, *([] if view.running is None else [view.running]))
        return next((execution for execution in there if execution.id == choice.head), None)


@dataclass(frozen=True)
class Routed:
    """Each request goes where it went before."""

    instance: Sequence[int] = field(repr=False)

    def route(self, request: Request, instances: Sequence[Routable]) -> int:
        """The number of its instance."""
        return self.instance[request.id]
