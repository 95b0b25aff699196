"""The serving stack around the instances of a run: its file, its frontend's times, and what it adds to costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from flowsim.calibration.costs.cost_model import Cost, CostModel, GraphCost, free
from flowsim.core.server import STACK, Jitter, ServerOptions
from flowsim.errors import InputError, unknown
from flowsim.io import documents
from flowsim.io.schema import build

EXPECTED = f"server: with some of {', '.join(STACK)}"


def stack_written_out(server: ServerOptions) -> ServerOptions:
    """These options with those of the file of the stack, if there is one, in its place.

    InputError: the file cannot be read, or holds something else.
    """
    if server.stack is None:
        return server
    return msgspec.structs.replace(server, **read_stack(server.stack), stack=None)


def read_stack(path: str) -> dict[str, Any]:
    """The options of the stack in a YAML file, checked: those of its section `server`; the others say where they come
    from. InputError names the file and the option."""
    given = documents.mapping(path, EXPECTED).get("server")
    if not isinstance(given, Mapping) or not given:
        raise InputError(path, "has no options of the stack", expected=EXPECTED)
    for name in given:
        if name not in STACK:
            raise unknown("option of the stack", str(name), STACK).within(path)
    try:
        made = build(ServerOptions, given)
    except InputError as error:
        raise error.within(path) from None
    return {name: getattr(made, name) for name in given}


def stack_stated(server: ServerOptions) -> list[str]:
    """What a summary says of the stack; nothing without one."""
    default = ServerOptions()
    given = {name: getattr(server, name) for name in STACK if getattr(server, name) != getattr(default, name)}
    stated = (f"{name} {value if isinstance(value, str) else f'{value:.4g}'}" for name, value in given.items())
    return [f"a serving stack around it: {', '.join(stated)}"] if given else []


def frontend_s(server: ServerOptions, n: int, seed: int) -> NDArray[np.float64]:
    """Seconds from the send of each of n requests until the scheduler has it, shape [n]."""
    return server.frontend_s + Jitter.parse(server.jitter).draw(n, seed)


def with_stack(costs: CostModel, server: ServerOptions) -> CostModel:
    """These costs on a server whose stack takes host time in each forward, and whose device is as fast as it says.

    The host's time precedes the first launch of a forward, as `prepare` does, so cuts, overlap and predictions follow.
    """
    factor, host_s = server.device_factor, server.host_s
    if factor == 1 and not host_s and not server.host_request_s:
        return costs
    graph = costs.graph
    if graph is not None:
        graph = GraphCost(graph.most, _scaled(graph.layer, factor), _longer(graph.prepare, host_s), graph.check)
    return CostModel(
        costs.name,
        costs.layers,
        {name: _scaled(cost, factor) for name, cost in costs.device.items()},
        lambda tokens, context: factor * costs.attention(tokens, context),
        {**costs.host, "prepare": _longer(costs.host.get("prepare", free), host_s)},
        attention_launch=costs.attention_launch,
        calls=costs.calls,
        attention_calls=costs.attention_calls,
        check_s=costs.check_s,
        acknowledge_s=costs.acknowledge_s,
        complete_s=costs.complete_s,
        resume_s=costs.resume_s,
        proceed=costs.proceed,
        decision=costs.decision,
        switch_s=costs.switch_s,
        prompt_s=costs.prompt_s + server.host_request_s,
        graph=graph,
        tp=costs.tp,
        kv_capacity_tokens=costs.kv_capacity_tokens,
        boost=costs.boost,
        provenance=costs.provenance,
    )


def _scaled(cost: Cost, factor: float) -> Cost:
    return lambda size: factor * cost(size)


def _longer(cost: Cost, seconds: float) -> Cost:
    return lambda size: cost(size) + seconds
