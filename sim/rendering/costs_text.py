"""What is said of costs: the kind of their table and its stated error, in one line each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from flowsim.calibration.costs.pass_kinds import LONG_PROMPT
from flowsim.io.counts import number_of, percent

MOST_NAMED = 3
"""Tables that a footing names; of more, it gives the kinds alone."""


class Costs(NamedTuple):
    """The costs of some runs.

    Attributes:
        name: of the table.
        kind: of the table: measured, imported or modelled; None for costs given in Python.
        error: its stated error, as a share; None if it is not known.
    """

    name: str
    kind: str | None
    error: float | None


def cost_line(inputs: Mapping[str, Any]) -> str:
    """The cost model, the kind of its table, and its error; `inputs` as a summary has them."""
    return f"{inputs['cost_model']}, {inputs['cost_model_kind'] or 'given in Python'}; {error_text(inputs)}"


def error_text(inputs: Mapping[str, Any]) -> str:
    """By how much a cost model differs from measured passes; `inputs` as a summary has them."""
    factors, error = inputs["cost_model_factors"], inputs["cost_model_error"]
    if factors:
        return _imported(factors)
    if not error:
        return "error not known"
    kind, what = (LONG_PROMPT, "prefills of >= 1024 tokens") if LONG_PROMPT in error else (next(iter(error)),) * 2
    if inputs["cost_model_kind"] == "modelled":
        median, most = error[kind]["median"], error[kind]["max"]
        return (
            f"tables modelled like it differed from {what} by up to {percent(median)} (median), {percent(most)} (max)"
        )
    median, most = (percent(error[kind][name]) for name in ("median", "max"))
    return f"differs from measured {what} by {median} (median), {most} (max)"


def costs_of(inputs: Mapping[str, Any]) -> Costs:
    """The costs of a run, whose `inputs` are as a summary or a row of a study has them."""
    return Costs(inputs["cost_model"], inputs["cost_model_kind"], inputs["cost_model_stated_error"])


def cost_footing(costs: Iterable[Costs]) -> str:
    """The tables, their kinds and their stated errors, for the foot of a figure."""
    found = list(dict.fromkeys(costs))
    if len(found) <= MOST_NAMED:
        return "Costs: " + "; ".join(f"{table.name}, {_kind(table)}, {_stated([table])}" for table in found)
    said = (f"{number_of(len(some), 'table')} ({kind}), {_stated(some)}" for kind, some in _by_kind(found).items())
    return f"Costs: {'; '.join(said)}"


def mixed_kinds(costs: Iterable[Costs]) -> str | None:
    """What to say of costs whose tables are of different kinds; None if they are not."""
    kinds = _by_kind(dict.fromkeys(costs))
    if len(kinds) < 2:
        return None
    said = ", ".join(f"{kind} ({_stated(tables)})" for kind, tables in kinds.items())
    return f"mixes costs of different kinds, so more than the GPU differs: {said}"


def _kind(costs: Costs) -> str:
    return costs.kind or "given in Python"


def _by_kind(costs: Iterable[Costs]) -> dict[str, list[Costs]]:
    kinds: dict[str, list[Costs]] = {}
    for one in costs:
        kinds.setdefault(_kind(one), []).append(one)
    return kinds


def _stated(costs: Iterable[Costs]) -> str:
    """The largest stated error."""
    known = [one.error for one in costs if one.error is not None]
    return f"error {percent(max(known))}" if known else "error not known"


def _imported(factors: Mapping[str, Any]) -> str:
    tokens, median = factors["tokens"], factors["median"]
    low, high, compared = min(factors["low"]), max(factors["high"]), factors["compared"]
    by = f"{median[0]:.2f} ({tokens[0]:,} tokens) to {median[-1]:.2f} ({tokens[-1]:,})"
    if factors["corrected"]:
        if factors["error"] is None:
            return f"corrected by {by}, of {compared} measured tables: too few to state an error"
        return (
            f"corrected by {by}, within {percent(factors['error'], 0)} of each of {compared} measured tables, left out"
        )
    where = f"({low:.2f} to {high:.2f} in {compared} measured tables)"
    return f"too fast: prompts took {by} times as long {where}"
