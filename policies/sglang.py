"""SGLang's cache-aware orders, which it gives up for first come, first served once too many requests wait."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from functools import cached_property

from flowsim.core.order import Candidate, Order, Scanned
from flowsim.core.passes import Decision, Execution, Pass
from flowsim.core.policy import View
from flowsim.core.request import Request
from flowsim.policies.parts.batching import check_positive
from flowsim.policies.parts.composed import Composed
from flowsim.policies.parts.orders import ORDERS
from flowsim.policies.parts.server_work import ServerWork


@dataclass(frozen=True, kw_only=True)
class SGLang(Composed):
    """What both have in common: an order of their own while few requests wait, `order` while more do.

    Attributes:
        most_sorted: most waiting requests that are put into their own order.
    """

    batching: str = "order"
    most_sorted: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "most_sorted")

    @cached_property
    def overloaded(self) -> Composed:
        """What decides while more requests wait: the same parts with `order`."""
        return Composed(**{part.name: getattr(self, part.name) for part in fields(Composed)})

    def choose(self, view: View) -> Pass | Execution | Decision | None:
        """As either order says."""
        return super().choose(view) if len(view.waiting) <= self.most_sorted else self.overloaded.choose(view)


@dataclass(frozen=True, kw_only=True)
class LPM(SGLang):
    """The longest cached prefix first, batched up to the first that does not fit; with over 128 waiting, by `order`.

    Key: -h, smallest first: h the prompt's tokens that are cached now. Source: the code of SGLang, schedule_policy.py
    (`lpm`). Not reproduced: that of waiting prompts which share 32 tokens or more with one another, and have 32 or
    fewer cached, all but one go last. There a prompt that does not fit whole gives the batch its first chunk.
    """

    @cached_property
    def ranking(self) -> Order:
        """See above."""
        return ORDERS["lpm"]


@dataclass(frozen=True, kw_only=True)
class HRRN(SGLang):
    """The highest response ratio next, a wait counted in tokens served meanwhile; with over 128 waiting, by `order`.

    Key: -(S(t) - S(a)) / n, smallest first: S(t) the tokens of all passes that have completed by the time t, a the
    arrival, n the tokens left after those cached now. Source: the code of SGLang, schedule_policy.py (`hrrn`; pull
    request 32911). The classic ratio, 1 + wait / service time, ranks alike if the server is always busy at one rate.
    There S counts a forward at a time, ties go to the smaller id, the deferral that `lpm` leaves out applies, and
    without a prefix cache it is first come, first served.
    """

    served: ServerWork = field(default_factory=ServerWork, init=False, repr=False, compare=False)

    @cached_property
    def ranking(self) -> Order:
        """See above."""
        return Scanned(self._key)

    def on_arrival(self, request: Request, view: View) -> None:
        """Begin to count."""
        self.served.arrived(request.id)

    def on_completion(self, execution: Execution, view: View) -> None:
        """Count its tokens."""
        self.served.completed += execution.batch_tokens

    def _key(self, candidate: Candidate, now: float) -> float:
        """The first is a pass that has ended, of which the scheduler has not heard yet."""
        return -self.served.since_arrival(candidate.id) / candidate.tokens if candidate.tokens else -math.inf
