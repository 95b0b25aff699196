"""The differences of two policies on the same requests, each with its interval, and whether there are any."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flowsim.results.bootstrap import (
    FEWEST_STRETCHES,
    FEWEST_VALUES,
    BlockMeans,
    block_means,
    stretch_count,
)
from flowsim.results.interval import Interval, unknown_interval
from flowsim.results.quantile_bootstrap import quantile_differences, quantile_stretches
from flowsim.results.result import RunResult

if TYPE_CHECKING:
    import pandas as pd

SERVED = ("counted", "attained", "ttft_s")
"""The columns of a table of requests that a comparison needs."""
DECISIONS = ("instance", "started_s", "finished_s", "preemptions", "state")
"""Those that say what was decided."""
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


@dataclass(frozen=True, eq=False)
class ServedTrace:
    """How one policy served the requests of a trace: what its comparison with another needs, one entry per request.

    Attributes:
        counted: whether the request counts in attainment, shape [n].
        attained: whether it met its TTFT SLO, shape [n].
        ttft_s: infinite if the first token never came, shape [n].
        offered_rps: the rate at which the requests arrive; None if they arrive at once.
    """

    counted: NDArray[np.bool_]
    attained: NDArray[np.bool_]
    ttft_s: NDArray[np.float64]
    offered_rps: float | None

    @classmethod
    def of(cls, result: RunResult) -> ServedTrace:
        """The requests of a run."""
        ttft_s = np.where(np.isnan(result.ttft_s), np.inf, result.ttft_s)
        return cls(result.counted, result.attained, ttft_s, result.summary["offered_rps"])

    @classmethod
    def of_table(cls, requests: pd.DataFrame, offered_rps: float | None) -> ServedTrace:
        """The requests of a run that was saved, from its table of them."""
        ttft_s = requests["ttft_s"].fillna(np.inf).to_numpy()
        return cls(requests["counted"].to_numpy(), requests["attained"].to_numpy(), ttft_s, offered_rps)


@dataclass(frozen=True, eq=False)
class Difference:
    """One policy less another, paired by request: a moving-block bootstrap over the requests that count under both.

    Attributes:
        ours, theirs: how each served the same requests.
        seed: of the bootstrap.
    """

    ours: ServedTrace
    theirs: ServedTrace
    seed: int = 0

    @cached_property
    def attainment(self) -> Interval:
        """Of the share of requests in time."""
        if self._attained.values.size < FEWEST_VALUES or not self._attained.values.any():
            return unknown_interval(self._attained.mean, self._attained.values.size)
        return self._attained.interval().within(-1, 1)

    @property
    def goodput_rps(self) -> Interval:
        """That of attainment x the offered rate, which is the trace's."""
        return self.attainment.scaled(np.nan if self.ours.offered_rps is None else self.ours.offered_rps)

    @cached_property
    def ttft_s(self) -> Mapping[str, Interval]:
        """Of the quantiles of TTFT, seconds, by their names in a summary."""
        found = quantile_differences(*self._ttft_s, list(QUANTILES.values()), seed=self.seed)
        return dict(zip(QUANTILES, found, strict=True))

    @property
    def p_value(self) -> float:
        """Two-sided, of no difference in attainment; 1 if no request was in time under one and late under the other."""
        return self._attained.p_value() if self._attained.values.any() else 1.0

    @cached_property
    def stretches(self) -> Mapping[str, float]:
        """On how many separate stretches of requests each difference rests; fewer than FEWEST_STRETCHES are too few."""
        quantiles = quantile_stretches(*self._ttft_s, list(QUANTILES.values()))
        return {"attainment": stretch_count(self._attained.values), **dict(zip(QUANTILES, quantiles, strict=True))}

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row per metric: metric, mean, low, high, n, and few: whether the interval rests on too few stretches."""
        few = {name: number < FEWEST_STRETCHES for name, number in self.stretches.items()}
        yield {"metric": "attainment", **asdict(self.attainment), "few": few["attainment"]}
        yield {"metric": "goodput_rps", **asdict(self.goodput_rps), "few": few["attainment"]}
        for name, interval in self.ttft_s.items():
            yield {"metric": f"ttft_{name}_s", **asdict(interval), "few": few[name]}

    @property
    def unpaired(self) -> int:
        """How many requests count under one of the two only, as the other had not decided them when it was stopped."""
        return int((self.ours.counted ^ self.theirs.counted).sum())

    @cached_property
    def _both(self) -> NDArray[np.bool_]:
        return self.ours.counted & self.theirs.counted

    @cached_property
    def _attained(self) -> BlockMeans:
        both = self._both
        return block_means(self.ours.attained[both].astype(float) - self.theirs.attained[both], seed=self.seed)

    @property
    def _ttft_s(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self.ours.ttft_s[self._both], self.theirs.ttft_s[self._both]


def difference_rows(served: Mapping[str, ServedTrace], against: str, seed: int = 0) -> list[dict[str, Any]]:
    """Rows about each policy less one of them, on the same requests.

    Returns:
        One row per policy and metric: policy, against, those of `Difference.rows`, unpaired (see `Difference`), p (of
        no difference in attainment) and p_holm (by Holm's method, for all policies compared).
    """
    found = {name: Difference(trace, served[against], seed) for name, trace in served.items() if name != against}
    p_values = [difference.p_value for difference in found.values()]
    return [
        {"policy": name, "against": against, **row, "unpaired": difference.unpaired, "p": p, "p_holm": adjusted}
        for (name, difference), p, adjusted in zip(found.items(), p_values, holm(p_values), strict=True)
        for row in difference.rows()
    ]


def decisions_sha256(result: RunResult) -> str:
    """SHA-256 of when and where each request was begun, preempted and finished.

    Runs on the same requests in which it is equal made the same decisions for every request.
    """
    ledger = result.outcome.ledger
    columns = (ledger.instance, ledger.started_s, ledger.finished_s, ledger.preemptions, ledger.rejected_s)
    return hashlib.sha256(b"".join(np.array(column).tobytes() for column in columns)).hexdigest()


def saved_decisions_sha256(requests: pd.DataFrame) -> str:
    """The same of a run that was saved, from the columns DECISIONS of its table of requests."""
    columns = [requests[name].astype(str) if name == "state" else requests[name] for name in DECISIONS]
    return hashlib.sha256(repr([column.tolist() for column in columns]).encode()).hexdigest()


def alike(decisions: Mapping[str, str]) -> list[tuple[str, ...]]:
    """The groups of names whose decisions are equal, in order."""
    groups: dict[str, list[str]] = {}
    for name, made in decisions.items():
        groups.setdefault(made, []).append(name)
    return [tuple(names) for names in groups.values() if len(names) > 1]


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of several comparisons, so that all of them together are wrong with a chance of p (Holm 1979)."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    adjusted = np.empty(p.size)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)), 1.0)
    return [float(value) for value in adjusted]
