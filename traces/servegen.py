"""Traces from ServeGen's client specifications: each client its rate, arrival law and lengths."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flowsim.errors import InputError
from flowsim.traces.columns import LARGEST, MOST_REQUESTS, Floats, Ints, generator
from flowsim.traces.compression import blocks
from flowsim.traces.trace import Trace

LEAST_SHAPE = 1e-3
"""Of an arrival law: below it almost all gaps are 0 to a computer. ServeGen's own are from 0.019."""
FIELDS = "rate, family (Gamma or Weibull), shape, scale, input_pdf and output_pdf"


def synthesize_clients(path: str | Path, duration_s: float = 600.0, seed: int = 0) -> Trace:
    """Requests of all the clients in a ServeGen specification, for so many seconds.

    Each client draws gaps from its own law, beginning somewhere in the first of them, and lengths from its own
    distributions, input and output independently. Client by client from seeds of their own: another client changes
    nothing for the rest.

    Raises:
        InputError: the file is no such specification, or gives no request.
    """
    if not 0 < duration_s < math.inf:
        raise InputError(f"the duration is {duration_s} s; allowed: a positive number of seconds")
    path = Path(path)
    clients = _clients(path)
    columns: list[tuple[Floats, Ints, Ints]] = []
    for place, client in enumerate(clients):
        where = f"{path}, client {place + 1}"
        if _field(where, client, "rate"):
            columns.append(_requests(where, client, duration_s, generator(seed, place)))
    if not sum(arrival.size for arrival, _, _ in columns):
        raise InputError(f"{path}: no client has a request in {duration_s:g} s")
    arrival, inputs, outputs = (np.concatenate(column) for column in zip(*columns, strict=True))
    source = f"{len(columns)} clients of {path} for {duration_s:g} s, seed {seed}"
    order = np.argsort(arrival, kind="stable")
    none = np.full(order.size, -1)
    return Trace.from_columns(
        arrival[order] - arrival[order[0]], inputs[order], outputs[order], none, (), name="servegen", source=source
    )


def _clients(path: Path) -> list[Mapping[str, Any]]:
    text = b"".join(block.text for block in blocks(path))
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        found = f"not JSON ({getattr(error, 'msg', 'too deep')})"
        raise InputError(f"{path}: {found}; allowed: the name of a preset, or a ServeGen specification") from None
    clients = values.get("clients") if isinstance(values, dict) else None
    if not isinstance(clients, list) or not clients or not all(isinstance(client, dict) for client in clients):
        raise InputError(f"{path}: no ServeGen specification; allowed: an object with clients, each with {FIELDS}")
    return clients


def _requests(
    where: str, client: Mapping[str, Any], duration_s: float, rng: np.random.Generator
) -> tuple[Floats, Ints, Ints]:
    arrival = _arrivals(where, client, duration_s, rng)
    inputs, outputs = (_lengths(where, client, name, arrival.size, rng) for name in ("input_pdf", "output_pdf"))
    return arrival, inputs, outputs


def _arrivals(where: str, client: Mapping[str, Any], duration_s: float, rng: np.random.Generator) -> Floats:
    shape, scale = (_field(where, client, name) for name in ("shape", "scale"))
    family = client.get("family")
    if family not in ("Gamma", "Weibull") or shape < LEAST_SHAPE or not scale:
        found = f"family {family!r}, shape {shape:g}, scale {scale:g}"
        raise InputError(f"{where}: {found}; allowed: Gamma or Weibull, shape from {LEAST_SHAPE:g}, scale above 0")
    mean_s = scale * (shape if family == "Gamma" else math.gamma(1 + 1 / max(shape, 0.01)))
    if duration_s > mean_s * MOST_REQUESTS:
        found = f"gaps of {mean_s:g} s on average, so {duration_s / mean_s:.3g} requests in {duration_s:g} s"
        raise InputError(f"{where}: {found}; allowed: {MOST_REQUESTS} at most")
    draw = rng.gamma if family == "Gamma" else lambda k, theta, n: theta * rng.weibull(k, n)
    many = 100 + int(1.2 * duration_s / mean_s)
    end_s = 0.0
    gaps: list[Floats] = []
    while end_s < duration_s:
        some = draw(shape, scale, many)
        if not gaps:
            some[0] *= rng.random()
        gaps.append(some)
        end_s += float(some.sum())
    arrival = np.cumsum(np.concatenate(gaps))
    return np.asarray(arrival[arrival < duration_s])


def _lengths(where: str, client: Mapping[str, Any], name: str, n: int, rng: np.random.Generator) -> Ints:
    table = client.get(name)
    try:
        if not isinstance(table, dict):
            raise TypeError
        lengths = np.array([int(key) for key in table], dtype=np.int64)
        weights = np.array(list(table.values()), dtype=np.float64)
        good = lengths.size and (lengths >= 1).all() and (lengths <= LARGEST).all() and (weights >= 0).all()
        if not good or not 0 < weights.sum() < math.inf:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{where}: {name} is no table; allowed: tokens (1 or more) to probability") from None
    return np.asarray(rng.choice(lengths, n, p=weights / weights.sum()))


def _field(where: str, client: Mapping[str, Any], name: str) -> float:
    value = client.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise InputError(f"{where}: {name} is {value!r}; allowed: a finite number, not negative")
    return float(value)
