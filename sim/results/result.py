"""The result of a run: one row per request, a summary with all that it takes to run it again, and its files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numpy.typing import NDArray

from flowsim.clairvoyant.bound import Bound, Bounding
from flowsim.clairvoyant.hindsight import Hindsight
from flowsim.core.events import Event
from flowsim.core.slo_mix import Assignment
from flowsim.core.summary import FullSummary, Inputs, Summary
from flowsim.engine.simulate import Outcome
from flowsim.errors import InputError, unknown
from flowsim.io.counts import number_of, percent
from flowsim.io.folders import writing
from flowsim.rendering.costs_text import cost_line
from flowsim.rendering.html import summary_html
from flowsim.results.metrics import STATES, Metrics
from flowsim.results.quantiles import Floats
from flowsim.results.summary import summarise, with_bound
from flowsim.traces.trace import Trace

if TYPE_CHECKING:
    import pandas as pd

FILES = ("summary.json", "requests.parquet", "config.yaml")
"""What `RunResult.save` writes."""


@dataclass(frozen=True, eq=False)
class RunResult:
    """What came of one run. Made by `flowsim.run`.

    Attributes:
        trace: the requests, as replayed.
        slo: the class and the TTFT SLO of each.
        outcome: what the engine recorded.
        policy: the policy's specification.
        config: the arguments of `flowsim.run` that give this result again.
        inputs: hashes, cost model and its error, SLOs, seed and version.
        warmup: the share of the requests, the first ones, that are served but not counted.
        hindsight: what is known of it in hindsight (`flowsim.clairvoyant.hindsight`); None if the run has kept no
            events.
        bounding: what the clairvoyant bound is worked out by when it is asked for, or why none is stated; None if none
            was asked for.
    """

    trace: Trace
    slo: Assignment
    outcome: Outcome
    policy: str
    config: Mapping[str, Any]
    inputs: Inputs
    warmup: float = 0.0
    hindsight: Hindsight | None = None
    bounding: Bounding | str | None = None

    @cached_property
    def metrics(self) -> Metrics:
        """The metrics, each with its definition."""
        return Metrics(self.trace, self.slo, self.outcome, self.warmup)

    @cached_property
    def summary(self) -> Summary:
        """The metrics of the run in one mapping; summary.json holds `full_summary`."""
        return summarise(self.metrics, self.policy, self.inputs)

    @cached_property
    def full_summary(self) -> FullSummary:
        """The metrics of the run and the clairvoyant bound, which is worked out when this is first asked for."""
        return with_bound(self.summary, self.bound or self.no_bound)

    @cached_property
    def bound(self) -> Bound | None:
        """The clairvoyant bound of the workload; this run too is a lower bound. None if none is stated."""
        attained = int((self.attained & self.counted).sum())
        return self.bounding(attained) if callable(self.bounding) else None

    @property
    def no_bound(self) -> str | None:
        """Why no bound is stated; None if one is, or none was asked for."""
        return self.bounding if isinstance(self.bounding, str) else None

    @property
    def ttft_s(self) -> Floats:
        """Time to first token of each request, seconds, shape [n]; NaN if it never came."""
        return self.metrics.ttft_s

    @property
    def attained(self) -> NDArray[np.bool_]:
        """Whether each request met its SLO, shape [n]; False also for those without an SLO."""
        return self.metrics.attained

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Whether each request counts, shape [n]: it has an SLO, arrived after the warm-up, and is decided."""
        return self.metrics.counted

    @property
    def blocking_s(self) -> Floats:
        """Blocking time of each preemption, seconds: from its signal to its acknowledgement."""
        return self.metrics.blocking_s

    @property
    def cached(self) -> NDArray[np.int64]:
        """Tokens of each request that its first pass found in the prefix cache of its instance, shape [n]."""
        return np.array(self.outcome.ledger.cached_tokens, dtype=np.int64)

    @property
    def span_s(self) -> float:
        """Seconds observed: from the first arrival to the last completion or, if any is unfinished, to the stop."""
        return self.metrics.span_s

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row per request; the columns are `flowsim.results.definitions.requests_parquet`."""
        import pandas as pd  # slow to import, and only tables need it

        ledger, metrics, trace = self.outcome.ledger, self.metrics, self.trace
        clients = (trace.client_code, pd.Index(trace.client_names))
        return pd.DataFrame(
            {
                "id": np.arange(len(self.trace)),
                "class": pd.Categorical.from_codes(self.slo.class_code, pd.Index(self.slo.class_names)),
                **({"priority": trace.priority} if trace.has("priority") else {}),
                **({"client": pd.Categorical.from_codes(*clients)} if trace.has("client_code") else {}),
                "instance": ledger.instance,
                "state": pd.Categorical.from_codes(metrics.state, pd.Index(STATES)),
                "input_tokens": self.trace.input_length,
                **({"cached_tokens": self.cached} if self.cached.any() else {}),
                "output_tokens": self.trace.output_length,
                "arrival_s": self.trace.arrival_s,
                "started_s": metrics.started_s,
                "finished_s": metrics.finished_s,
                "ttft_s": metrics.ttft_s,
                "ttft_slo_s": self.slo.ttft_slo_s,
                "attained": metrics.attained,
                "counted": metrics.counted,
                "queueing_s": metrics.queueing_s,
                "service_s": ledger.service_s,
                "paused_s": metrics.paused_s,
                "preemptions": ledger.preemptions,
            }
        )

    @property
    def events(self) -> Sequence[Sequence[Event]]:
        """What happened on each instance, in order (`flowsim.core.events`).

        Raises:
            InputError: the run was made without `events=True`.
        """
        if self.outcome.events is None:
            raise InputError("events", "were not kept", expected="a run with events=True")
        return self.outcome.events

    def attainment(self, by: str | None = None) -> Any:
        """The share of counted requests that met their SLO: one number, or a Series by a column of `requests`.

        Raises:
            InputError: `by` is not a column of `requests`.
        """
        if by is None:
            return self.summary["attainment"]
        frame = self.requests[self.counted]
        if not isinstance(by, str) or by not in frame:
            raise unknown("column of requests", by, frame.columns, where="by")
        return frame.groupby(by, observed=True)["attained"].mean()

    def ttft(self, q: float) -> float:
        """The quantile `q` (0 to 1) of the TTFTs of counted requests, seconds.

        Infinite if it falls among those that got no first token; NaN if none counts.

        Raises:
            InputError: `q` is not a number from 0 to 1.
        """
        if not isinstance(q, int | float | np.number) or isinstance(q, bool) or not 0 <= q <= 1:
            raise InputError("q", found=q, expected="a number from 0 to 1")
        return self.metrics.ttft_quantile(q)

    def save(self, folder: str | Path) -> Path:
        """Write summary.json, requests.parquet and config.yaml into `folder`: all of them, or none.

        Raises:
            InputError: the folder cannot be written, or holds files of these names that flowsim did not write.
        """
        with writing(folder) as stage:
            self.write(stage)
        return Path(folder)

    def write(self, folder: Path) -> None:
        """Write the three files into an existing folder."""
        summary = json.dumps(self.full_summary, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
        (folder / "summary.json").write_text(summary + "\n", encoding="utf-8")
        self.requests.to_parquet(folder / "requests.parquet", index=False, compression="zstd")
        config = json.loads(json.dumps(dict(self.config), default=_plain))
        text = f"# costs: {cost_line(self.inputs)}\n{yaml.safe_dump(config, sort_keys=False)}"
        (folder / "config.yaml").write_text(text, encoding="utf-8")

    def __repr__(self) -> str:
        """One line."""
        share = percent(self.summary["attainment"])
        return f"RunResult({self.policy}: {number_of(self.summary['requests'], 'request')}, {share} attained)"

    def _repr_html_(self) -> str:
        return summary_html(self.full_summary)


def _plain(number: np.generic) -> Any:
    """A NumPy number as Python's, for JSON."""
    return number.item()
