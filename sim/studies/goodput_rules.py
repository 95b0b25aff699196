"""What a rate must hold to count as served: by the attainment rule, and by the sustained rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from flowsim.core.slo_mix import Assignment
from flowsim.core.slo_presets import REST
from flowsim.errors import InputError, unknown
from flowsim.io.schema import Amount
from flowsim.results.result import RunResult

Rule = Literal["attainment", "sustained"]
RULES: tuple[Rule, ...] = get_args(Rule)
"""The rules of a max goodput. `attainment`: the target is met (DistServe's rule, and the paper's). `sustained`: and all
requests that are not rejected are served, and the queue empties again and again."""
Share = Annotated[float, Meta(gt=0, le=1)]
Target = float | Mapping[str, float]
"""A share of all requests, or of each class named."""
Weights = Mapping[str, Amount]

LEFT_BEHIND, QUEUE = "left behind", "queue"


def lacks(result: RunResult, target: Target, weights: Weights | None = None) -> Mapping[Rule, str]:
    """What a run lacks by each rule; "" where it lacks nothing.

    Args:
        result: the run.
        target: the share of the counted requests that must meet their SLO: of all, or by class ("*": of each other
            class). Classes that are not named may miss theirs.
        weights: how much a request of each class counts in the share of all; 1 if not named ("*": the weight of those).
    """
    missed = _attainment(result, target, weights or {})
    return {"attainment": missed, "sustained": missed or _queue(result)}


def check_classes(
    slo: Assignment, counted: NDArray[np.bool_], target: Target, weights: Weights | None, where: str
) -> None:
    """Raise InputError for a class in the target or the weights that the trace lacks, or of which no request counts.

    So it does for "*" where every class whose requests count is named.

    Args:
        slo: the class of each request, shape [n].
        counted: whether each request counts, shape [n].
        target, weights: as in `lacks`.
        where: the trace, as messages name it.
    """
    names = slo.class_names
    known = {names[code] for code in np.unique(slo.class_code[counted])}
    for option, given in (("target", target), ("weights", weights)):
        if isinstance(given, Mapping) and REST in given and known <= set(given):
            found = f"names {REST} for each other class, but no request of another class in {where} counts"
            raise InputError(option, found, expected=f"no {REST}, beside {', '.join(sorted(known))}")
        for name, value in given.items() if isinstance(given, Mapping) else ():
            if name not in (*names, REST):
                raise unknown("class", name, names, f"of {where}", where=option)
            if value and name not in (*known, REST):
                problem = f"names {name}, but no request of that class in {where} counts"
                raise InputError(option, problem, expected="classes with an SLO and requests after the warm-up")
    if weights and not any(weights.get(name, weights.get(REST, 1.0)) for name in known):
        raise InputError("weights", found=dict(weights), expected="> 0 for some class whose requests count")


def empties(result: RunResult) -> bool:
    """Whether, of the requests that were not rejected on arrival, some of the last third finds an instance free.

    A queue that only grows never gets there, however well the others fare; a stable one does again and again, more
    often the longer the trace. A request that the policy rejects later is in the queue until then; one on its way to
    the server, or its token on the way back, is in no queue.
    """
    ledger = result.outcome.ledger
    arrived_s, rejected_s = np.array(ledger.arrived_s), np.array(ledger.rejected_s)
    kept = ~(np.isnan(arrived_s) | (rejected_s <= arrived_s))
    arrived_s, left_s = np.sort(arrived_s[kept]), np.fmin(ledger.finished_s, rejected_s)[kept]
    gone = np.searchsorted(np.sort(left_s), arrived_s, side="right")  # NaN, never gone, sorts last
    backlog = np.arange(arrived_s.size) - gone
    return not backlog.size or bool((backlog[-(-2 * backlog.size // 3) :] < len(result.outcome.logs)).any())


def leaves_behind(result: RunResult) -> bool:
    """Whether the policy never served some request and did not reject it either, though the run was not stopped."""
    ledger = result.outcome.ledger
    never = np.isnan(np.array(ledger.finished_s)) & ~np.array(ledger.rejected, bool)
    return bool(never.any()) and not result.outcome.cut_off


def late(result: RunResult) -> NDArray[np.bool_]:
    """Whether each request counts and missed its SLO, shape [n]."""
    return result.counted & ~result.attained


def _attainment(result: RunResult, target: Target, weights: Weights) -> str:
    """The share of requests within their SLO that misses the target; "" if none does."""
    names, code = result.slo.class_names, result.slo.class_code
    counted = np.bincount(code[result.counted], minlength=len(names))
    met = np.bincount(code[result.counted & result.attained], minlength=len(names))
    if isinstance(target, Mapping):
        wanted = [target.get(name, target.get(REST, 0.0)) for name in names]
        missed = (name for name, share, n, k in zip(names, wanted, counted, met, strict=True) if n and k / n < share)
        return next((f"attainment of {name}" for name in missed), "")
    weight = np.array([weights.get(name, weights.get(REST, 1.0)) for name in names])
    whole = float(weight @ counted)
    return "attainment" if whole and float(weight @ met) / whole < target else ""


def _queue(result: RunResult) -> str:
    if leaves_behind(result):
        return LEFT_BEHIND
    return "" if empties(result) else QUEUE
