"""The result of a run: a row a request, a summary with all that is needed to run it again, and the files it leaves."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numpy.typing import NDArray

from flowsim.core.slo import Assignment
from flowsim.engine.simulate import Outcome
from flowsim.io.folders import writing
from flowsim.show.format import percent
from flowsim.traces.trace import Trace

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RunResult:
    """What came of one run. Made by `flowsim.run`.

    Attributes:
        trace: the requests, as replayed.
        slo: the class and the TTFT SLO of each.
        outcome: what the engine wrote down.
        policy: the policy's specification.
        config: the arguments of `flowsim.run` that give this result again.
        inputs: hashes, cost model and its error, SLOs, seed and version.
        cached: tokens of each request that the prefix cache held, shape [n].
        warmup: share of the requests, the first ones, that do not count in attainment, goodput and TTFT.
    """

    trace: Trace
    slo: Assignment
    outcome: Outcome
    policy: str
    config: Mapping[str, Any]
    inputs: Mapping[str, Any]
    cached: NDArray[np.int64]
    warmup: float = 0.0

    @cached_property
    def ttft_s(self) -> Floats:
        """Time to first token of each request, seconds, shape [n]; NaN if it never came."""
        return np.array(self.outcome.ledger.finished_s) - self.trace.arrival_s

    @cached_property
    def attained(self) -> NDArray[np.bool_]:
        """Whether each request met its SLO, shape [n]; False also for those without an SLO."""
        return self.ttft_s <= self.slo.ttft_slo_s

    @cached_property
    def requests(self) -> pd.DataFrame:
        """A row a request.

        Columns: id, class, instance, state (finished, rejected, unfinished), input_tokens, cached_tokens (only with a
        prefix cache), output_tokens, arrival_s, started_s, finished_s, ttft_s, ttft_slo_s, attained, queueing_s
        (arrival to first launch), service_s (in passes), paused_s (the rest until the first token: preempted, or
        between two passes), preemptions.
        """
        import pandas as pd

        ledger = self.outcome.ledger
        started_s, finished_s = np.array(ledger.started_s), np.array(ledger.finished_s)
        return pd.DataFrame(
            {
                "id": np.arange(len(self.trace)),
                "class": pd.Categorical.from_codes(self.slo.class_code, pd.Index(self.slo.class_names)),
                "instance": ledger.instance,
                "state": pd.Categorical.from_codes(self._state, pd.Index(["finished", "rejected", "unfinished"])),
                "input_tokens": self.trace.input_length,
                **({"cached_tokens": self.cached} if self.cached.any() else {}),
                "output_tokens": self.trace.output_length,
                "arrival_s": self.trace.arrival_s,
                "started_s": started_s,
                "finished_s": finished_s,
                "ttft_s": self.ttft_s,
                "ttft_slo_s": self.slo.ttft_slo_s,
                "attained": self.attained,
                "queueing_s": started_s - self.trace.arrival_s,
                "service_s": ledger.service_s,
                "paused_s": self._paused_s,
                "preemptions": ledger.preemptions,
            }
        )

    @cached_property
    def blocking_s(self) -> Floats:
        """Blocking times, seconds, of all instances: preemption signal to acknowledgement."""
        return np.concatenate([np.array(log.blocking_s, float) for log in self.outcome.logs])

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The figures of the run, as `summary.json` holds them."""
        logs = self.outcome.logs
        busy_s, span_s = sum(log.busy_s for log in logs), self.span_s
        attained = int((self.attained & self.counted).sum())
        capacity_s = (self._end_s - float(self.trace.arrival_s[0])) * len(logs)
        return {
            "policy": self.policy,
            "attainment": _ratio(attained, int(self.counted.sum())),
            "goodput_rps": _ratio(attained, self._counted_span_s) or 0.0,
            "offered_rps": _finite(self.trace.rate_rps),
            "requests": len(self.trace),
            "without_slo": int(np.isnan(self.slo.ttft_slo_s).sum()),
            "counted": int(self.counted.sum()),
            "finished": int((self._state == 0).sum()),
            "unfinished": int((self._state == 2).sum()),
            "rejected": int((self._state == 1).sum()),
            "ttft_s": quantiles(self.ttft_s[self._warm], (50, 90, 99)),
            "blocking_s": quantiles(self.blocking_s, (50, 99)),
            "preemptions": sum(log.preemptions for log in logs),
            "utilization": _ratio(busy_s, capacity_s),
            "check_share": _ratio(sum(log.check_s for log in logs), busy_s),
            "control_share": _ratio(sum(log.control_s for log in logs), capacity_s),
            "decisions": sum(log.decisions for log in logs),
            "queueing_s": quantiles(self._queueing_s, (50, 90, 99)),
            "service_s": quantiles(self._service_s, (50, 90, 99)),
            "paused_s": quantiles(self._paused_s, (50, 90, 99)),
            "longest_wait_s": _finite(float(np.nanmax(self._queueing_s, initial=0.0))),
            "span_s": span_s,
            "classes": {name: self._class_summary(code) for code, name in enumerate(self.slo.class_names)},
            "inputs": dict(self.inputs),
        }

    @property
    def span_s(self) -> float:
        """Seconds from the first arrival to the last completion; 0 if nothing completed."""
        finished_s = np.array(self.outcome.ledger.finished_s)
        return float(np.nanmax(finished_s, initial=0.0)) - float(self.trace.arrival_s[0])

    def attainment(self, by: str | None = None) -> Any:
        """The share of requests with an SLO that met it: one number, or a Series by="class"."""
        if by is None:
            return self.summary["attainment"]
        frame = self.requests[self.counted]
        return frame.groupby(by, observed=True)["attained"].mean()

    def ttft(self, q: float) -> float:
        """The TTFT that a share `q` (0 to 1) of the finished requests stayed under, seconds; NaN if none finished."""
        known = self.ttft_s[~np.isnan(self.ttft_s)]
        return float(np.quantile(known, q)) if known.size else math.nan

    def save(self, folder: str | Path) -> Path:
        """Write summary.json, requests.parquet and config.yaml into `folder`: all of them, or none.

        Raises:
            InputError: the folder cannot be written.
        """
        with writing(folder) as stage:
            self.write(stage)
        return Path(folder)

    def write(self, folder: Path) -> None:
        """Write the three files into an existing folder."""
        summary = json.dumps(self.summary, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
        (folder / "summary.json").write_text(summary + "\n", encoding="utf-8")
        self.requests.to_parquet(folder / "requests.parquet", index=False, compression="zstd")
        config = json.loads(json.dumps(dict(self.config), default=_plain))
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")

    def __repr__(self) -> str:
        """One line."""
        share = percent(self.summary["attainment"])
        return f"RunResult({self.policy}: {self.summary['requests']} requests, {share} attained)"

    def _repr_html_(self) -> str:
        from flowsim.show.text import summary_html

        return summary_html(self.summary)

    @cached_property
    def counted(self) -> NDArray[np.bool_]:
        """Whether a request counts in attainment, shape [n]: it has an SLO and did not arrive in the warm-up."""
        return ~np.isnan(self.slo.ttft_slo_s) & self._warm

    @cached_property
    def _warm(self) -> NDArray[np.bool_]:
        return np.arange(len(self.trace)) >= self._first_counted

    @property
    def _first_counted(self) -> int:
        return int(self.warmup * len(self.trace))

    @property
    def _counted_span_s(self) -> float:
        """Seconds from the first arrival that counts to the last completion."""
        return self.span_s + float(self.trace.arrival_s[0] - self.trace.arrival_s[self._first_counted])

    @cached_property
    def _state(self) -> NDArray[np.int64]:
        rejected = np.array(self.outcome.ledger.rejected)
        return np.where(rejected, 1, np.where(np.isnan(self.ttft_s), 2, 0))

    @cached_property
    def _service_s(self) -> Floats:
        """In passes, of finished requests; NaN for others."""
        return np.where(self._state == 0, np.array(self.outcome.ledger.service_s), np.nan)

    @cached_property
    def _paused_s(self) -> Floats:
        """Neither queueing nor in a pass, of finished requests: preempted, or between two passes; NaN for others."""
        started_s = np.array(self.outcome.ledger.started_s) - self.trace.arrival_s
        return np.maximum(self.ttft_s - started_s - self._service_s, 0.0)

    @property
    def _end_s(self) -> float:
        """The last completion or, if a request is unfinished, when the simulation stopped."""
        if (self._state == 2).any():
            return self.outcome.stopped_s
        return self.span_s + float(self.trace.arrival_s[0])

    @cached_property
    def _queueing_s(self) -> Floats:
        """Arrival to first launch; to the end of the run for what was never launched; NaN if rejected."""
        started_s = np.array(self.outcome.ledger.started_s)
        until_s = np.where(np.isnan(started_s), self._end_s, started_s)
        waited_s = np.maximum(until_s - self.trace.arrival_s, 0.0)
        return np.where(self._state == 1, np.nan, waited_s)

    def _class_summary(self, code: int) -> dict[str, Any]:
        members = (self.slo.class_code == code) & self._warm
        attained, slo_s = int((self.attained & members).sum()), self.slo.ttft_slo_s[members]
        return {
            "requests": int(members.sum()),
            "ttft_slo_s": _finite(float(slo_s[0])) if slo_s.size else None,
            "attainment": _ratio(attained, int((self.counted & members).sum())),
            "goodput_rps": _ratio(attained, self._counted_span_s) or 0.0,
            "ttft_s": quantiles(self.ttft_s[members], (50, 90, 99)),
        }


def quantiles(values: Floats, percents: Sequence[int]) -> dict[str, float | None]:
    """Mean, these percentiles (linear interpolation) and maximum of what is not NaN; None for all if nothing is."""
    known = values[~np.isnan(values)]
    names = ["mean", *(f"p{percent}" for percent in percents), "max"]
    if not known.size:
        return dict.fromkeys(names)
    figures = [known.mean(), *np.percentile(known, percents), known.max()]
    return {name: float(figure) for name, figure in zip(names, figures, strict=True)}


def _plain(number: np.generic) -> Any:
    """A NumPy number as Python's, for JSON."""
    return number.item()


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
