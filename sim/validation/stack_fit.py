"""The serving stack of a real server, fitted from a log of it: from requests that ran (nearly) alone.

The TTFT of a request alone is what the device takes, times a factor, plus host time for each of its forwards, plus a
constant and a jitter. The first three follow by regression on the simulation of the same log; the last two from what is
left. Alone, the way in cannot be told from the way back, nor from the host's time for the first forward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from msgspec import Struct, structs
from numpy.typing import NDArray

from flowsim.core.events import Launched
from flowsim.core.server import ServerOptions
from flowsim.errors import InputError
from flowsim.io.counts import number_of
from flowsim.io.folders import writing_file
from flowsim.io.notebook import facts_html
from flowsim.io.seeds import generator
from flowsim.runs.options import RunOptions
from flowsim.runs.prepare import Given, Prepared
from flowsim.runs.prepare import prepare as prepared
from flowsim.runs.run import execute
from flowsim.traces.trace import Trace
from flowsim.validation.residuals import Residuals, least_absolute

Floats = NDArray[np.float64]
FEWEST = 20
"""Requests alone that a fit needs."""
ROUNDS = 3
"""How often the simulation is made linear in the factor and the host's time, each time where the last fit was."""
DRAWS = 300
BLOCKS = 5
STEP, STEP_S = 0.05, 1e-4
MORE_HOST = 0.25
"""A prompt of several forwards takes at least that much more of the host's time than one of one forward: the device
hides the rest of it."""
SPREAD = 0.1
"""Least relative deviation of device times from which a factor can be told from a constant."""


class Estimate(Struct, frozen=True):
    """A fitted value and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """The value with its interval."""
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


@dataclass(frozen=True)
class StackFit:
    """A fitted stack.

    Attributes:
        server: the options of the stack, as `--stack` takes them.
        estimates: the interval of each number in them, by option; of the jitter by "jitter MEAN" and so on.
        alone: how many requests ran alone.
        requests: how many the log has.
        cannot_tell: what cannot be told apart, and where it went.
        before_s: median difference of the TTFTs alone from a simulation without a stack, seconds.
        after_s: the same with a stack fitted on the other blocks of the log.
        log: where the requests come from, and the SHA-256 of that.
    """

    server: dict[str, Any]
    estimates: dict[str, Estimate]
    alone: int
    requests: int
    cannot_tell: tuple[str, ...]
    before_s: float
    after_s: float
    log: tuple[str, str]

    def _repr_html_(self) -> str:
        return facts_html("Serving stack", self.facts())

    def facts(self) -> list[tuple[str, str]]:
        """The fit in words: names and values."""
        kind = self.server["jitter"].partition(":")[0]
        rows = [(name, one.text) for name, one in self.estimates.items()]
        share = f"{self.alone:,} of {number_of(self.requests, 'request')} ran alone"
        fit = f"{self.before_s * 1e3:.3g} ms without a stack, {self.after_s * 1e3:.3g} ms with one fitted on the others"
        rows += [("jitter", kind), ("from", share), ("median difference", f"{fit} of five blocks of the log")]
        return rows + [("not separable", line) for line in self.cannot_tell]

    def save(self, path: str | Path) -> None:
        """Write the file that `--stack` takes. InputError: it cannot be written."""
        about = {
            "log": self.log[0],
            "log_sha256": self.log[1],
            "alone": self.alone,
            "requests": self.requests,
            "intervals": {name: [one.low, one.high] for name, one in self.estimates.items()},
            "median_difference_s": {"without": self.before_s, "with": self.after_s},
            "cannot_tell": list(self.cannot_tell),
        }
        with writing_file(Path(path)) as partial:
            text = yaml.safe_dump({"server": self.server, "fitted": about}, sort_keys=False, allow_unicode=True)
            partial.write_text(text, encoding="utf-8")


def ran_alone(trace: Trace) -> NDArray[np.bool_]:
    """Which requests of a log had the server for themselves from their send to their first token, shape [n].

    One is gone with its last token, if its latency is known, else with its first. One that failed counts as not there.
    """
    ttft_s = np.nan_to_num(trace.ttft_s)
    gone_s = trace.arrival_s + np.fmax(ttft_s, np.nan_to_num(trace.latency_s))
    before_s = np.concatenate(([-math.inf], np.maximum.accumulate(gone_s)[:-1]))
    next_s = np.append(trace.arrival_s[1:], math.inf)
    alone: NDArray[np.bool_] = (trace.arrival_s >= before_s) & (next_s >= trace.arrival_s + ttft_s)
    return alone & ~np.isnan(trace.ttft_s)


def fit_stack(trace: Trace, run: RunOptions) -> StackFit:
    """The stack of the server that a log is of.

    Args:
        trace: the log: with measured TTFTs.
        run: how the server is simulated: its policy, table and limits, without a stack.

    Raises:
        InputError: the log has no TTFTs, or too few requests that ran alone.
    """
    alone = np.flatnonzero(ran_alone(trace))
    if not trace.has("ttft_s"):
        raise InputError(trace.where, "has no measured TTFTs", expected="the log of a server")
    if alone.size < FEWEST:
        found = f"has {number_of(alone.size, 'request')} that ran alone"
        raise InputError(trace.where, found, expected=f">= {FEWEST}: a log at a low rate")
    if run.server.has_stack or run.server.stack:
        raise InputError("stack", "is given to a fit", expected="none: it is what is fitted")
    fit = _Fit(trace, run, alone)
    return fit.result()


class _Fit:
    """The regression of the TTFTs of these requests, made linear at the latest estimate."""

    def __init__(self, trace: Trace, run: RunOptions, alone: NDArray[np.int64]) -> None:
        one = trace.concurrency if trace.concurrency == 1 else None
        workload = structs.replace(run.workload, concurrency=one)
        self._trace, self._run, self._alone = trace, structs.replace(run, workload=workload), alone
        self._measured_s = trace.ttft_s[alone]
        self._apart_s = 0.0
        """The constant, as found so far: in a closed loop the device rests for as long before each request."""
        self._without_s, self._forwards = self._simulated(1.0, 0.0), self._counted()
        self._at = np.array([1.0, 0.0])
        self._base_s, self._slopes = self._without_s, self._linear(self._without_s)
        self._known = self._identifiable()
        self._left_out = 0 if self._known[1] else int(np.count_nonzero(self._several))
        if self._left_out:
            self._keep(~self._several)
        for _ in range(ROUNDS):
            self._at, left_s = self._left(np.arange(self._alone.size))
            self._apart_s = max(float(np.median(left_s)), 0.0)
            self._base_s = self._simulated(*self._at)
            self._slopes = self._linear(self._base_s)

    def _simulated(self, factor: float, host_s: float) -> Floats:
        """The TTFTs of these requests with a device and a host like that."""
        server = structs.replace(self._run.server, device_factor=factor, host_s=host_s, frontend_s=self._apart_s)
        ttft_s: Floats = execute(self._prepared(server)).ttft_s[self._alone]
        if np.isnan(ttft_s).any():
            raise InputError("policy", "leaves requests of the log without a first token")
        return ttft_s - self._apart_s

    def _counted(self) -> NDArray[np.int64]:
        """The forwards of these requests without a stack, shape [k]."""
        forwards, most = np.zeros(len(self._trace), np.int64), self._run.server.max_batched_tokens
        for event in chain.from_iterable(execute(self._prepared(self._run.server), events=True).outcome.events or ()):
            if isinstance(event, Launched):
                forwards[list(event.members)] += -(-np.array(event.tokens) // most)
        return forwards[self._alone]

    def _prepared(self, server: ServerOptions) -> Prepared:
        return prepared(structs.replace(self._run, server=server, bound=False), Given(trace=self._trace))

    def _linear(self, base_s: Floats) -> Floats:
        """What the TTFTs change by with the factor and with the host's time, shape [k, 2]."""
        factor, host_s = self._at
        by_factor = (self._simulated(factor + STEP, host_s) - base_s) / STEP
        by_host = (self._simulated(factor, host_s + STEP_S) - base_s) / STEP_S
        return np.stack([by_factor, by_host], axis=1)

    def _identifiable(self) -> NDArray[np.bool_]:
        """Whether the factor and the host's time can be told from a constant."""
        device, several = self._slopes[:, 0], np.count_nonzero(self._several)
        return np.array([device.std() > SPREAD * device.mean(), FEWEST / 4 <= several < device.size])

    @property
    def _several(self) -> NDArray[np.bool_]:
        """Which of these requests take more forwards than others, and more of the host's time with them.

        More host time alone does not say so: in a closed loop it also lets the device rest for longer.
        """
        host = self._slopes[:, 1]
        more: NDArray[np.bool_] = (self._forwards > self._forwards.min()) & (host > host.min() + MORE_HOST)
        return more

    def _keep(self, rows: NDArray[np.bool_]) -> None:
        """Fit these alone: the others are too few to say how much more host time they take, and it would be in the
        factor."""
        self._alone, self._measured_s, self._without_s = (
            self._alone[rows],
            self._measured_s[rows],
            self._without_s[rows],
        )
        self._base_s, self._slopes, self._forwards = self._base_s[rows], self._slopes[rows], self._forwards[rows]

    def _moved(self, rows: NDArray[np.int64]) -> Floats:
        """The factor and the host's time that fit these rows best."""
        columns = np.column_stack([np.ones(rows.size), self._slopes[rows][:, self._known]])
        found = self._at.copy()
        found[self._known] += least_absolute(columns, self._measured_s[rows] - self._base_s[rows])[1:]
        bounded: Floats = np.maximum(found, [1e-3, 0.0])
        return bounded

    def _left(self, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """The factor and the host's time of these rows, and what they leave of the TTFTs, seconds."""
        at = self._moved(rows)
        return at, self._measured_s[rows] - self._base_s[rows] - self._slopes[rows] @ (at - self._at)

    def result(self) -> StackFit:
        """The fit, its intervals and what it explains."""
        every = np.arange(self._alone.size)
        at, left_s = self._left(every)
        found = Residuals.of(left_s)
        names = ["frontend_s", *(f"jitter {name}" for name in found.names), "device_factor", "host_s"]
        kept = [True] * (1 + len(found.names)) + self._known.tolist()
        draws = np.array([self._drawn(found, rows) for rows in _resampled(every.size)])
        low, high = np.quantile(draws, [0.025, 0.975], axis=0)
        values = [found.constant_s, *found.parameters, *at.tolist()]
        estimates = {
            name: Estimate(value, float(a), float(b))
            for name, value, a, b, keep in zip(names, values, low, high, kept, strict=True)
            if keep
        }
        server: dict[str, Any] = {"frontend_s": found.constant_s, "jitter": found.jitter}
        server |= {name: float(value) for name, value, known in zip(names[-2:], at, self._known, strict=True) if known}
        before_s = float(np.median(np.abs(self._measured_s - self._without_s)))
        log = self._trace.source, self._trace.sha256
        notices = self._cannot_tell()
        return StackFit(
            server, estimates, every.size + self._left_out, len(self._trace), notices, before_s, self._held_out(), log
        )

    def _drawn(self, found: Residuals, rows: NDArray[np.int64]) -> list[float]:
        at, left_s = self._left(rows)
        other = Residuals.of(left_s, found.kind)
        return [other.constant_s, *other.parameters, *at.tolist()]

    def _held_out(self) -> float:
        """Median difference of each block's TTFTs from what the others predict, seconds.

        The simulation is made linear once, where the fit to all blocks is.
        """
        every, errors = np.arange(self._alone.size), []
        for block in np.array_split(every, BLOCKS):
            at, left_s = self._left(np.setdiff1d(every, block))
            predicted_s = self._base_s[block] + self._slopes[block] @ (at - self._at) + np.median(left_s)
            errors.append(np.abs(self._measured_s[block] - predicted_s))
        return float(np.median(np.concatenate(errors)))

    def _cannot_tell(self) -> tuple[str, ...]:
        """What cannot be told apart."""
        notices = ["return_s is included in frontend_s: a request alone takes the same time whichever way is longer"]
        factor, host = self._known
        if not factor:
            problem = "the prompts that ran alone are of about one length"
            notices.append(f"device_factor is included in frontend_s: {problem}")
        if not host:
            out = f", but for {self._left_out}, which are left out" if self._left_out else ""
            notices.append(
                f"host_s is included in frontend_s: the prompts that ran alone take the same number of forwards{out}"
            )
        return (*notices, "host_request_s is included in host_s: a request alone is the only one in its forwards")


def _resampled(n: int) -> Sequence[NDArray[np.int64]]:
    """Rows drawn in blocks of consecutive ones, n each (moving-block bootstrap)."""
    random, length = generator(0, *b"stack"), max(round(n ** (1 / 3)), 1)
    starts = random.integers(0, n, (DRAWS, -(-n // length)))
    rows = (starts[:, :, None] + np.arange(length)) % n
    return list(rows.reshape(DRAWS, -1)[:, :n])
