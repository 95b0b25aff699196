"""What a summary says of the requests of a run, counted again from their saved table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from flowsim.results.metrics import FINISHED, STATES, TTFT_PERCENTS, Flags
from flowsim.results.quantiles import quantiles, ratio

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("class", "state", "arrival_s", "ttft_s", "ttft_slo_s", "attained", "counted"),
    *("queueing_s", "service_s", "paused_s"),
)
"""The columns of a table of requests that are counted."""
PARTS_PERCENTS = (50, 90, 99)


def recount(table: pd.DataFrame, classes: Iterable[str], span_s: float | None = None) -> dict[str, Any]:
    """The entries of a summary that follow from a table of requests, as `flowsim.results.metrics` has them.

    Args:
        table: one row per request, with the columns `COLUMNS`.
        classes: those that the summary names; those in the table are counted in any case.
        span_s: of a closed loop, the seconds that were observed.
    """
    rate_rps = _rate_rps(table["arrival_s"].to_numpy(float)) if span_s is None else ratio(len(table), span_s)
    state, kind = (table[name].astype(str).to_numpy() for name in ("state", "class"))
    counted, finished = table["counted"].to_numpy(), state == STATES[FINISHED]

    def times(column: str, members: Flags) -> dict[str, float | None]:
        return quantiles(table[column].to_numpy(float)[members], PARTS_PERCENTS)

    def of_some(members: Flags) -> dict[str, Any]:
        offered_rps = rate_rps if span_s is None else None
        return _of_some(table, members, rate_rps) | {
            "offered_rps": None if offered_rps is None else members.mean() * offered_rps
        }

    return {
        **of_some(np.ones(len(table), bool)),
        **{name: int((state == name).sum()) for name in STATES},
        "queueing_s": times("queueing_s", counted),
        "service_s": times("service_s", counted & finished),
        "paused_s": times("paused_s", counted),
        "classes": {name: of_some(kind == name) for name in dict.fromkeys([*classes, *np.unique(kind)])},
    }


def _of_some(table: pd.DataFrame, members: Flags, rate_rps: float | None) -> dict[str, Any]:
    """The metrics of some requests, where all come, or complete, at this rate."""
    counted = table["counted"].to_numpy()
    some = counted & members
    attained, ttft_s = int(table["attained"].to_numpy()[some].sum()), table["ttft_s"].to_numpy(float)[some]
    known = rate_rps is not None and some.any()
    return {
        "requests": int(members.sum()),
        "counted": int(some.sum()),
        "attainment": ratio(attained, int(some.sum())),
        "goodput_rps": attained / counted.sum() * table["ttft_slo_s"].notna().mean() * rate_rps if known else None,
        "ttft_s": quantiles(np.where(np.isnan(ttft_s), np.inf, ttft_s), TTFT_PERCENTS),
    }


def _rate_rps(arrival_s: np.ndarray) -> float | None:
    return ratio(arrival_s.size - 1, float(arrival_s[-1] - arrival_s[0])) if arrival_s.size else None
