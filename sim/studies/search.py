"""The highest request rates that a policy serves, by both rules of a max goodput, from one search over replays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.core.server import ServerOptions
from flowsim.errors import InputError
from flowsim.io.counts import number_of
from flowsim.io.pairs import numbers_by_name
from flowsim.io.schema import Amount, Checked, Name, option
from flowsim.results.metrics import after_warmup
from flowsim.results.result import RunResult
from flowsim.runs.prepare import Prepared
from flowsim.studies.goodput_rules import RULES, Rule, Share, check_classes, lacks
from flowsim.studies.point import Point, notices, prepared, run_point

FEWEST_REQUESTS = 30
"""Per instance: fewer requests might all find a free instance, however fast they arrive."""
FINEST = 1e-6
LOWEST = 12
"""The search gives up this many octaves (doublings) below the rate at which the server is estimated to be full."""
AHEAD = tuple(k / 128 for k in range(1, 9))
"""How far above the highest rate at which a rule holds it must fail, octaves: at eight rates, 0.5 to 4.4 % above."""
NOTHING = "nothing"
"""What limits a rate that has been tried no higher."""


class Search(Checked, frozen=True, kw_only=False):
    """What a search asks of a rate, and how close it goes."""

    target: Annotated[
        Share | Mapping[str, Share] | Name,
        option(
            "Share of requests within their SLO: of all (0.9), or of each class named (text=.99,search=.9; * stands "
            "for each other class).",
            "TARGET",
        ),
    ] = 0.9
    weights: Annotated[
        Mapping[str, Amount] | Name | None,
        option("How much a request of each class counts in the share of all: text=2,search=1.", "WEIGHTS", default="1"),
    ] = None
    tolerance: Annotated[
        float, Meta(ge=FINEST, le=1), option("Two neighbouring rates differ by at most this share.")
    ] = 0.01

    def __post_init__(self) -> None:
        for name in ("target", "weights"):
            given = getattr(self, name)
            if isinstance(given, str):
                msgspec.structs.force_setattr(self, name, _by_class(name, given))
        super().__post_init__()
        for name in ("target", "weights"):
            given = getattr(self, name)
            if isinstance(given, Mapping):  # in any order the same search
                msgspec.structs.force_setattr(self, name, dict(sorted(given.items())))
        if not self.target:
            raise InputError("target", found=self.target, expected="a share, or one for at least one class")
        if self.weights and isinstance(self.target, Mapping):
            raise InputError("weights", "cannot be combined with targets by class", expected="one of them")

    @property
    def target_text(self) -> str:
        """The target as it is written: "0.9", "search=0.9,text=0.99"; with its weights."""
        of_classes = _text(self.target) if isinstance(self.target, Mapping) else f"{self.target:g}"
        return of_classes + (f" (weights {_text(self.weights)})" if isinstance(self.weights, Mapping) else "")


@dataclass(frozen=True)
class Highest:
    """The highest rate tried at which a rule holds, requests per second.

    Attributes:
        rate_rps: that rate; 0 if there is none.
        fails_at_rps: the next higher rate tried, at which it does not hold; infinite if none was.
        limited_by: what is lacking there: "attainment", "attainment of CLASS", "queue" (it only grew), "left behind"
            (some requests were never served); or "nothing".
        dips_at_rps: the lowest rate tried below `rate_rps` at which the rule does not hold; NaN if it holds at all.
        returns_at_rps: the lowest rate tried above that at which it holds again; NaN if it holds at all.
    """

    rate_rps: float
    fails_at_rps: float
    limited_by: str
    dips_at_rps: float = math.nan
    returns_at_rps: float = math.nan


@dataclass(frozen=True)
class Found:
    """The highest rates of a search, by rule.

    Attributes:
        highest: by rule.
        probes: runs that the search took.
        target: the target, as it is written.
        notices: what to say of the trace, one line each.
        result: the run at the highest sustained rate; None if there is none.
    """

    highest: Mapping[Rule, Highest]
    probes: int
    target: str
    notices: str | None = None
    result: RunResult | None = None

    @property
    def row(self) -> dict[str, Any]:
        """As plain columns; the figures of the run at the highest sustained rate stand beside them."""
        row: dict[str, Any] = {"target": self.target}
        for rule, highest in self.highest.items():
            row |= {
                f"max_rate_{rule}_rps": highest.rate_rps,
                f"fails_at_{rule}_rps": highest.fails_at_rps,
                f"limited_by_{rule}": highest.limited_by,
                f"dips_at_{rule}_rps": highest.dips_at_rps,
                f"returns_at_{rule}_rps": highest.returns_at_rps,
            }
        return row | {"probes": self.probes, "trace_notices": self.notices}


def max_rate(rule: Rule) -> str:
    """The column that holds the highest rates by a rule."""
    return f"max_rate_{rule}_rps"


def highest_rates(point: Point, root: str, search: Search) -> Found:
    """The highest rates at which the policy of a point serves its trace, by both rules, from the same runs.

    Raises:
        InputError: fewer than 30 requests per instance, an unknown class, or what a run rejects.
    """
    ready = prepared(point, root)
    check_searchable(ready, search)
    best: dict[float, RunResult] = {}

    def judge(rate_rps: float) -> Mapping[Rule, str]:
        result = run_point(point.at_rate(rate_rps), root)
        verdict = lacks(result, search.target, search.weights)  # type: ignore[arg-type]
        if not verdict["sustained"] and rate_rps > max(best, default=0.0):
            best.clear()
            best[rate_rps] = result
        return verdict

    rates = Rates(full_rps(ready), search.tolerance, len(ready.trace), judge)
    highest = rates.of_both_rules()
    return Found(highest, len(rates.tried), search.target_text, notices(ready), next(iter(best.values()), None))


def full_rps(ready: Prepared) -> float:
    """About the rate at which a server is full, requests per second: that of prompts of mean length, one by one."""
    costs = PassCosts(ready.costs.model, ServerOptions(), "none")
    return ready.options.server.instances / costs.solo_s(round(float(ready.trace.input_length.mean())))


def check_searchable(ready: Prepared, search: Search) -> None:
    """Raise InputError unless a run has enough requests to judge a rate by, and some that count of each class named.

    Also for a closed loop, which has no rate.
    """
    trace, workload, instances = ready.trace, ready.options.workload, ready.options.server.instances
    if workload.concurrency is not None:
        raise InputError("workload.concurrency", "is given, but a closed loop has no rate to search", expected="none")
    fewest = FEWEST_REQUESTS * instances
    if len(trace) < fewest:
        each = f" ({FEWEST_REQUESTS} per instance)" if instances > 1 else ""
        place = f"{trace.where}, window {workload.window_text}" if workload.window else trace.where
        raise InputError(
            place, f"has {number_of(len(trace), 'request')}", expected=f">= {fewest} requests for a search{each}"
        )
    if not trace.span_s:
        raise InputError(trace.where, "all requests arrive at one instant", expected="a trace that spans some time")
    counted = after_warmup(len(trace), ready.options.warmup) & ~np.isnan(ready.slo.ttft_slo_s)
    check_classes(ready.slo, counted, search.target, search.weights, trace.where)  # type: ignore[arg-type]


@dataclass
class Rates:
    """The rates tried, each with what it lacks by each rule.

    They are whole numbers of equal steps of the logarithm from one request per second, so every policy is asked about
    the same rates on the same requests (common random numbers). An octave has 2^k steps, as few as the tolerance
    allows.

    Attributes:
        full_rps: where the server should be full; the search begins at the power of two next to it.
        tolerance: the most by which two neighbouring rates may differ, a share of them.
        requests: in the trace. At this many times `full_rps` all arrive while one is served: no rate above is tried.
        judge: replays at a rate, requests per second, and says what is lacking by each rule.
        tried: what was lacking, by the step of the rate.
    """

    full_rps: float
    tolerance: float
    requests: int
    judge: Callable[[float], Mapping[Rule, str]]
    tried: dict[int, Mapping[Rule, str]] = field(default_factory=dict)

    @property
    def octave(self) -> int:
        """Steps of an octave."""
        return 1 << math.ceil(math.log2(1 / math.log2(1 + self.tolerance)))

    def of_both_rules(self) -> Mapping[Rule, Highest]:
        """The highest rates by rule, each from all rates that were tried, whichever rule asked for them."""
        while True:
            known = len(self.tried)
            found = {rule: self.highest(rule) for rule in RULES}
            if len(self.tried) == known:
                return found

    def highest(self, rule: Rule) -> Highest:
        """The highest rate at which a rule holds, found by as many further rates as it needs.

        The rate is bracketed by octaves, and the bracket halved down to one step. As the rule may hold again above it,
        the rates of AHEAD are tried then, and the search goes on from the first of them at which it holds.
        """
        while (step := self._next(rule)) is not None:
            self.tried[step] = self.judge(self._rate_rps(step))
        holds = self._holding(rule)
        low = max(holds, default=None)
        above = [step for step in self.tried if low is None or step > low]
        high = min(above, default=None)
        dip = min((step for step in self.tried if low is not None and step < low and step not in holds), default=None)
        back = None if dip is None else min(step for step in holds if step > dip)
        return Highest(
            0.0 if low is None else self._rate_rps(low),
            math.inf if high is None else self._rate_rps(high),
            NOTHING if high is None else self.tried[high][rule],
            math.nan if dip is None else self._rate_rps(dip),
            math.nan if back is None else self._rate_rps(back),
        )

    def _next(self, rule: Rule) -> int | None:
        """The step to try next; None when the highest rate is found."""
        middle, holds = self.octave * round(math.log2(self.full_rps)), self._holding(rule)
        if not self.tried:
            return middle
        if not holds:
            below = min(self.tried) - self.octave
            return below if below >= middle - LOWEST * self.octave else None
        low = max(holds)
        high = min((step for step in self.tried if step > low), default=None)
        if high is None:
            return low + self.octave if low < middle + self.octave * math.ceil(math.log2(self.requests)) else None
        if high > low + 1:
            return (low + high) // 2
        return next((low + k for k in self._ahead if low + k not in self.tried), None)

    @property
    def _ahead(self) -> Iterable[int]:
        """Steps from the highest rate at which a rule holds to those that are tried above it."""
        return sorted({round(self.octave * octaves) for octaves in AHEAD} - {0, 1})

    def _holding(self, rule: Rule) -> set[int]:
        return {step for step, lacking in self.tried.items() if not lacking[rule]}

    def _rate_rps(self, step: int) -> float:
        return float(2.0 ** (step / self.octave))


def _by_class(name: str, text: str) -> float | dict[str, float]:
    """A number, or numbers by class, of text."""
    if name == "target" and "=" not in text:
        with suppress(ValueError):
            return float(text)
    expected = "CLASS=WEIGHT pairs" if name == "weights" else "a share, or CLASS=SHARE pairs"
    return numbers_by_name(text, name, expected)


def _text(given: Mapping[str, float]) -> str:
    return ",".join(f"{name}={value:g}" for name, value in given.items())
