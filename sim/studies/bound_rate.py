"""The rate from which on no scheduler could meet the target of a search, whatever it knows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from flowsim.clairvoyant.bound import Clairvoyant
from flowsim.core.slo_presets import REST
from flowsim.policies.registry import PolicySpec
from flowsim.runs.bound import ANY_POLICY, clairvoyant_of
from flowsim.runs.options import with_values
from flowsim.runs.prepare import Prepared
from flowsim.studies.goodput_rules import Target
from flowsim.studies.point import Point, prepared
from flowsim.studies.search import Rates, Search, check_searchable, full_rps


def bound_rate_rps(point: Point, root: str, search: Search) -> float:
    """The lowest rate found, requests per second, at which no scheduler meets the target of a search.

    It is searched as the highest rate of a policy is, among the same rates on the same requests, with the clairvoyant
    bound in place of a replay; the target of a class has the bound of that class alone. Requests that can be in time
    still can when all gaps between arrivals grow, since no set of them then has less time between its first release and
    its last deadline (Horn 1974). So no scheduler meets the target at any higher rate either. With a prefix cache,
    of which higher rates may reuse more, or with jitter, by which requests may arrive further apart at higher rates, it
    is the next rate tried above the highest that the bound allows.

    Infinite if the bound allows it at every rate tried, NaN if requests have weights.

    Raises:
        InputError: fewer than 30 requests per instance, an unknown class, or what a run rejects.
    """
    if search.weights:
        return math.nan
    plain = Point(with_values(point.options, {"policy": PolicySpec(ANY_POLICY), "predictor": "exact"}))
    asked = f"bound {search.target_text} within {search.tolerance}"
    return _found(_Asked(plain.key(root, asked), plain, search), root)


@dataclass(frozen=True)
class _Asked:
    """A point and what is asked of its rate, the same as others of this key."""

    key: str
    point: Point = field(compare=False)
    search: Search = field(compare=False)


@lru_cache(maxsize=1024)
def _found(asked: _Asked, root: str) -> float:
    point, search = asked.point, asked.search
    ready = prepared(point, root)
    check_searchable(ready, search)

    def judge(rate_rps: float) -> Mapping[str, str]:
        at_rate = prepared(point.at_rate(rate_rps), root)
        lacking = "" if _allowed(at_rate, search.target) else "attainment"  # type: ignore[arg-type]
        return {"attainment": lacking, "sustained": lacking}

    rates = Rates(full_rps(ready), search.tolerance, len(ready.trace), judge)  # type: ignore[arg-type]
    return rates.highest("attainment").fails_at_rps


def _allowed(ready: Prepared, target: Target) -> bool:
    """Whether the bound allows that the target is met."""
    return all(math.isnan(bound.upper.upper) or bound.upper.upper >= share for bound, share in _targets(ready, target))


def _targets(ready: Prepared, target: Target) -> Iterator[tuple[Clairvoyant, float]]:
    """The requests of each target, with the share of them that must be in time."""
    whole = clairvoyant_of(ready)
    if not isinstance(target, Mapping):
        yield whole, target
        return
    for code, name in enumerate(ready.slo.class_names):
        if share := target.get(name, target.get(REST, 0.0)):
            yield replace(whole, counted=whole.counted & (ready.slo.class_code == code)), share
