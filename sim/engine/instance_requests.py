"""The requests of one instance: those that wait there, those that a pass has computed some of, and what they add up to.

A request is added, taken into passes, and advances with each that completes. It leaves when all of it is computed, or
when it is rejected.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Sequence
from numbers import Integral
from typing import Any

from msgspec.structs import force_setattr

from flowsim.core.ledger import Recorder
from flowsim.core.passes import Part
from flowsim.core.predictor import Predictor
from flowsim.core.request import Request
from flowsim.engine.closed_loop import ClosedLoop
from flowsim.engine.kv import KVCache
from flowsim.engine.prefix_cache import PrefixCache, PrefixWaiting
from flowsim.engine.waiting import Waiting


class InstanceRequests:
    """The requests of one instance.

    Args:
        kv: the KV cache of the instance.
        predictor: what its policy believes that the rest of a prompt takes.
        recorder: is told what happens.
        loop: the closed loop that sends the requests, if one does.

    Attributes:
        waiting: those of which nothing is computed yet.
        started: those partly computed by completed passes, by id; not while a pass computes more of them.
        prefixes: the same as `waiting` if the instance has a prefix cache; else None.
        work_ns: predicted time of the requests that came here and have not finished, as predicted at their arrival,
            with what was cached then. Whole nanoseconds, whose sums are exact: routers compare them, and ties must be
            ties.
        attained, missed: by class, how many requests that have an SLO had their first token in time, or did not.
    """

    def __init__(
        self,
        kv: KVCache,
        predictor: Predictor,
        recorder: Recorder,
        loop: ClosedLoop | None = None,
    ) -> None:
        self.prefixes = PrefixWaiting(kv, predictor) if isinstance(kv, PrefixCache) else None
        self.waiting = Waiting(by_arrival=loop is None) if self.prefixes is None else self.prefixes
        self.started: OrderedDict[int, Request] = OrderedDict()
        self.attained: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self._kv = kv
        self._predictor = predictor
        self._recorder = recorder
        self._loop = loop
        self.work_ns = 0
        self._share_ns: dict[int, int] = {}
        """What each request adds to that."""

    def add(self, request: Request) -> None:
        """Have a request wait. Raises what the policy's orders raise."""
        self.waiting.add(request)
        self._share_ns[request.id] = share_ns = round(request.predicted_s * 1e9)
        self.work_ns += share_ns

    def take(self, parts: Sequence[tuple[Request, Any]], now: float) -> str | None:
        """Take requests into a pass that computes this many tokens of each; what is wrong with it, or None."""
        for request, tokens in parts:
            if not ((type(tokens) is int or isinstance(tokens, Integral)) and 0 < int(tokens) <= request.tokens):
                return f"chose {tokens} tokens of {request}"
            if self.waiting.remove(request):
                if not self._kv.take(request):
                    return "chose a pass for which too few KV blocks are free"
                if request.cached:
                    self._recorder.reused(now, request.id, request.cached)
            elif self.started.pop(request.id, None) is None:
                return f"chose {request}, which does not wait, or is named twice, or is rejected as well"
        if self.prefixes is not None:
            self.prefixes.refresh()
        return None

    def completed(self, parts: Sequence[Part], ended_s: float) -> tuple[int, ...]:
        """A pass with these parts has completed; the ids of those that are through."""
        through = tuple([request.id for request, tokens in parts if self._advance(request, tokens, ended_s)])
        if self.prefixes is not None:
            self.prefixes.refresh()
        if self._loop is not None:
            self._loop.finished(through, ended_s)
        return through

    def reject(self, request: Request, now: float, by: str) -> None:
        """Turn away a request that waits (by the "policy"), or has just arrived (by the "limits" of the instance)."""
        if self.waiting.remove(request):
            self.work_ns -= self._share_ns.pop(request.id)
        self._recorder.rejected(now, request.id, by)
        if self._loop is not None:
            self._loop.rejected(now)
        if request.slo_s < math.inf:
            self.missed[request.class_name] += 1

    def _advance(self, request: Request, tokens: int, ended_s: float) -> bool:
        """Book computed tokens; whether the request is through: computed to its end, it has its first token.

        Here a request would turn from prefilling to decoding, or leave with its KV for an instance that decodes.
        """
        before = request.context
        force_setattr(request, "context", before + tokens)
        force_setattr(request, "tokens", request.tokens - tokens)
        if self.prefixes is not None:
            self.prefixes.computed(request, before)
        if request.tokens:
            force_setattr(request, "predicted_s", self._predictor.predict(request.tokens, request.context))
            self.started[request.id] = request
            return False
        self._kv.give_back(request)
        self.work_ns -= self._share_ns.pop(request.id)
        if request.slo_s < math.inf:
            in_time = ended_s - request.sent_s <= request.slo_s
            (self.attained if in_time else self.missed)[request.class_name] += 1
        return True
