"""Situations for a policy to choose in. The view is that of the reference engine, its state put there by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import force_setattr

from flowsim.calibration.costs.predictor import SoloPredictor
from flowsim.core.pass_timeline import Forward, Timeline
from flowsim.core.passes import Execution, Pass
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.policies.fcfs import FCFS
from support.costs import pencil
from support.reference.instance import Site


def situation(
    now: float = 0.0,
    waiting: Sequence[Request] = (),
    running: Any = None,
    paused: Sequence[Any] = (),
    started: Sequence[Request] = (),
    solo: Any = lambda tokens, context: float(tokens),
    **limits: int,
) -> Any:
    """A view with these requests and executions; predictions are a second a token unless `solo` says otherwise."""
    view = Site(FCFS(), pencil(), SoloPredictor("by hand", solo), ServerOptions(**{"block_tokens": 1, **limits}))
    view.now, view.running = now, running
    view.waiting, view.paused, view.started = list(waiting), list(paused), list(started)
    passes = [*paused, *([running] if running else [])]
    view.kv.holding = [*view.started, *(request for execution in passes for request in execution.requests)]
    view.launched = len(view.paused) + (running is not None)
    return view


def request(id: int, tokens: int, slo_s: float = 1000.0, arrival_s: float = 0.0) -> Request:
    return Request(id, arrival_s, tokens, slo_s, predicted_s=float(tokens))


def executing(*members: Request, left: float | None = None) -> Execution:
    """A pass over whole requests of which this many tokens are left."""
    tokens = sum(member.tokens for member in members)
    timeline = Timeline([Forward(tokens, (), 0.0, 1, float(tokens), float(tokens))], "none")
    execution = Execution.of(tuple((member, member.tokens) for member in members), timeline)
    force_setattr(execution, "predicted_s", tokens if left is None else left)
    force_setattr(execution, "tokens", int(execution.predicted_s))
    return execution


def ids(choice: Pass | Execution | None) -> list[int]:
    assert isinstance(choice, Pass)
    assert all(tokens == member.tokens for member, tokens in choice.parts)
    return [member.id for member, _ in choice.parts]


QUEUE = [request(0, 4, slo_s=40.0), request(1, 9, slo_s=30.0), request(2, 2, slo_s=20.0), request(3, 1, slo_s=50.0)]
"""Requests whose lengths and deadlines are in different orders."""
