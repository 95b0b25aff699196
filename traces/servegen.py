"""Traces from ServeGen's client specifications: each client has its own rate, arrival process and lengths."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flowsim.errors import InputError
from flowsim.io.seeds import MOST_REQUESTS, generator
from flowsim.traces.columns import LARGEST, Floats, Ints, coded_names
from flowsim.traces.reading.compression import read_lines
from flowsim.traces.trace import Trace

LEAST_SHAPE = 1e-3
"""Least shape of an arrival process: below it almost all gaps round to 0. ServeGen's own start at 0.019."""
FIELDS = "rate, family (Gamma or Weibull), shape, input_pdf and output_pdf"


def synthesize_clients(path: str | Path, duration_s: float = 600.0, seed: int = 0) -> Trace:
    """The requests of all clients in a ServeGen specification during `duration_s` seconds.

    Each client draws gaps from its own distribution, starting at a random point of the first gap, and lengths from
    its own distributions, input and output independently. A client's gaps have the mean 1 / rate and the family and
    shape that were fitted to them; the fitted scale is not used, because a fit of bursty gaps misses the observed
    rate, in the published files by up to a factor of 6.6. Every client has its own random numbers: adding one changes
    nothing for the others.

    Raises:
        InputError: the file is not a ServeGen specification, or no client has a request.
    """
    if not 0 < duration_s < math.inf:
        raise InputError("duration_s", found=duration_s, expected="a finite number of seconds > 0")
    path = Path(path)
    clients = _clients(path)
    columns: list[tuple[Floats, Ints, Ints]] = []
    senders: list[str] = []
    for place, client in enumerate(clients):
        where = f"{path}: client {place + 1}"
        if _field(where, client, "rate"):
            columns.append(_requests(where, client, duration_s, generator(seed, place)))
            senders.append(str(client.get("client", place + 1)))
    if not sum(arrival.size for arrival, _, _ in columns):
        raise InputError(str(path), f"has no client with a request in {duration_s:g} s")
    arrival, inputs, outputs = (np.concatenate(column) for column in zip(*columns, strict=True))
    source = f"{len(columns)} clients of {path} for {duration_s:g} s, seed {seed}"
    order = np.argsort(arrival, kind="stable")
    codes, names = coded_names("client", senders, len(senders))
    sender = np.repeat(codes, [arrival.size for arrival, _, _ in columns])
    return Trace.from_columns(
        arrival[order] - arrival[order[0]],
        inputs[order],
        outputs[order],
        np.full(order.size, -1),
        (),
        name="servegen",
        source=source,
        client_code=sender[order],
        client_names=names,
    )


def _clients(path: Path) -> list[Mapping[str, Any]]:
    text = b"".join(lines.text for lines in read_lines(path))
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        found = f"is not JSON ({getattr(error, 'msg', 'too deep')})"
        raise InputError(str(path), found, expected="the name of a preset or a ServeGen specification") from None
    clients = values.get("clients") if isinstance(values, dict) else None
    if not isinstance(clients, list) or not clients or not all(isinstance(client, dict) for client in clients):
        expected = f"an object with a list of clients, each with {FIELDS}"
        raise InputError(str(path), "is not a ServeGen specification", expected=expected)
    return clients


def _requests(
    where: str, client: Mapping[str, Any], duration_s: float, rng: np.random.Generator
) -> tuple[Floats, Ints, Ints]:
    arrival = _arrivals(where, client, duration_s, rng)
    inputs, outputs = (_lengths(where, client, name, arrival.size, rng) for name in ("input_pdf", "output_pdf"))
    return arrival, inputs, outputs


def _arrivals(where: str, client: Mapping[str, Any], duration_s: float, rng: np.random.Generator) -> Floats:
    shape, rate_rps = (_field(where, client, name) for name in ("shape", "rate"))
    family = client.get("family")
    if family not in ("Gamma", "Weibull"):
        raise InputError(f"{where}: family", found=family, expected="Gamma or Weibull")
    if shape < LEAST_SHAPE:
        raise InputError(f"{where}: shape", found=shape, expected=f">= {LEAST_SHAPE:g}")
    mean_s = 1 / rate_rps
    scale = mean_s / (shape if family == "Gamma" else math.gamma(1 + 1 / max(shape, 0.01)))
    if duration_s > mean_s * MOST_REQUESTS:
        found = f"has {duration_s / mean_s:.3g} requests in {duration_s:g} s (mean gap {mean_s:g} s)"
        raise InputError(where, found, expected=f"<= {MOST_REQUESTS} requests")
    draw = rng.gamma if family == "Gamma" else lambda k, theta, n: theta * rng.weibull(k, n)
    arrival = _renewals(lambda n: draw(shape, scale, n), 100 + int(1.2 * duration_s / mean_s), duration_s, rng)
    return np.asarray(arrival[arrival < duration_s])


def _renewals(draw: Callable[[int], Floats], many: int, duration_s: float, rng: np.random.Generator) -> Floats:
    """Arrival times that reach at least to `duration_s`, from gaps drawn `many` at a time; the first gap is cut."""
    end_s, gaps = 0.0, list[Floats]()
    while end_s < duration_s:
        some = draw(many)
        if not gaps:
            some[0] *= rng.random()
        gaps.append(some)
        end_s += float(some.sum())
    return np.cumsum(np.concatenate(gaps))


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
        raise InputError(
            f"{where}: {name}", found=table, expected="a mapping of tokens (>= 1) to probability"
        ) from None
    return np.asarray(rng.choice(lengths, n, p=weights / weights.sum()))


def _field(where: str, client: Mapping[str, Any], name: str) -> float:
    value = client.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise InputError(f"{where}: {name}", found=value, expected="a finite number >= 0")
    return float(value)
