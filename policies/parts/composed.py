"""A scheduler made of named parts, so that an ablation is a list of names.

`edf:cut=operator,batching=slo,admission=hopeless,suspend=0.05` is earliest deadline first, preempted between operators,
with FlowPrefill's batches, which rejects what cannot make it and pauses nothing for longer than 50 ms.

A row of the table of policies is a subclass that says which parts it has; one with an order of its own options, or with
state, overrides `ranking`, and adds `on_arrival` and `on_completion` as it needs them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from flowsim.core.operators import Cut
from flowsim.core.order import Order
from flowsim.core.passes import Decision, Execution, Pass
from flowsim.core.policy import View, Wake
from flowsim.core.request import Request
from flowsim.errors import InputError, unknown
from flowsim.policies.parts.admission import ADMISSIONS, Admitted
from flowsim.policies.parts.batching import BATCHINGS, check_positive
from flowsim.policies.parts.orders import ORDERS

PARTS: Mapping[str, Mapping[str, object]] = {"order": ORDERS, "batching": BATCHINGS, "admission": ADMISSIONS}


@dataclass(frozen=True, kw_only=True)
class Composed:
    """An order, a batching, an admission, a cut, a wake and a bound of suspension.

    Attributes:
        cut: where a running pass may be preempted: none, chunk, layer, block or operator.
        wake: when it decides: at events, or at cuts as well.
        order: which request, or paused batch, goes next.
        batching: which waiting requests share its pass.
        admission: which waiting requests are rejected.
        suspend: seconds after which a paused pass goes before all others; it may then be preempted again.
        batch_tokens: most tokens of a batch; a longer prompt runs alone.
        batch_requests: most requests of a batch, with batching=order.
        reserve: share of its SLO that the head of a batch must have left after the batch, with batching=slo.
    """

    cut: Cut = "none"
    wake: Wake = "events"
    order: str = "fcfs"
    batching: str = "none"
    admission: str = "all"
    suspend: float = math.inf
    batch_tokens: int = 8192
    batch_requests: int = 256
    reserve: float = 0.1

    def __post_init__(self) -> None:
        check_positive(self, "batch_tokens", "batch_requests")
        for part, known in PARTS.items():
            if (name := getattr(self, part)) not in known:
                raise unknown(part, name, known)
        if not 0 <= self.reserve <= 1:
            raise InputError("option reserve", found=self.reserve, expected="between 0 and 1")
        if not self.suspend > 0:
            raise InputError("option suspend", found=self.suspend, expected="> 0 seconds")

    @cached_property
    def ranking(self) -> Order:
        """The order itself: always the same object."""
        return ORDERS[self.order]

    def choose(self, view: View) -> Pass | Execution | Decision | None:
        """The first in order, with its companions; without those that are rejected."""
        if self.admission == "all" and self.suspend == math.inf:
            return self.go_on(view, self.head(view))
        rejected = ADMISSIONS[self.admission](view)
        if rejected:
            view = cast(View, Admitted(view, rejected))
        elif self.suspend == math.inf:
            return self.go_on(view, self.head(view))
        overdue = next((paused for paused in view.paused if view.now >= paused.ended_s + self.suspend), None)
        run = self.go_on(view, self.head(view) if overdue is None else overdue)
        due = [since_s + self.suspend for since_s in _paused_since(view, run)]
        return Decision(run, rejected, min([time_s for time_s in due if time_s > view.now], default=math.inf))

    def head(self, view: View) -> Request | Execution | None:
        """What goes next: the first in order."""
        return view.first(self.ranking)

    def go_on(self, view: View, head: Request | Execution | None) -> Pass | Execution | None:
        """The pass of a request that goes next; an execution as it is."""
        if not isinstance(head, Request):
            return head
        return BATCHINGS[self.batching](self, view, head)


def _paused_since(view: View, run: Pass | Execution | None) -> Iterator[float]:
    """Since when each pass is paused that is not going to run; the running one, if it gives way, from now on."""
    yield from (paused.ended_s for paused in view.paused if paused is not run)
    if view.running is not None and run is not None and run is not view.running:
        yield view.now
