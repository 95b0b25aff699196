"""What a real server did with the requests of a log, beside what simulations of the same requests do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from flowsim.core.slo_mix import Assignment
from flowsim.core.slo_presets import BAND_TOKENS
from flowsim.errors import InputError
from flowsim.io.counts import number_of, percent
from flowsim.policies.registry import PolicySpec
from flowsim.rendering.html import render
from flowsim.rendering.page import Axis, Chart, Facts, Page, Paragraph, Section, Series, Table, write_page
from flowsim.results.quantiles import quantile
from flowsim.results.result import RunResult
from flowsim.runs.options import RunOptions
from flowsim.runs.prepare import Given, prepare
from flowsim.runs.run import execute
from flowsim.traces.trace import Trace
from flowsim.validation.residuals import least_absolute
from flowsim.validation.stack_fit import ran_alone

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
SCALES = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
"""Factors of the SLOs at which attainments are compared."""
SHARES = {"p10": 0.1, "p50": 0.5, "p90": 0.9, "p99": 0.99}
PARTS = 12
"""Groups of prompts of about one length, as many requests in each, of which a chart shows the median."""
PERCENTS = (1, 5, 10, 25, 50, 75, 90, 95, 99)
SERVER = "server"


@dataclass(frozen=True)
class TextTable:
    """A table in words: its title, its header and its rows."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, eq=False)
class ServerComparison:
    """A log of a server beside simulations of its requests.

    Attributes:
        trace: the log: with measured TTFTs.
        slo: the class and the SLO of each request.
        simulated: the simulation under each policy, by its specification.
    """

    trace: Trace
    slo: Assignment
    simulated: Mapping[str, RunResult]

    @cached_property
    def ttft_s(self) -> dict[str, Floats]:
        """The TTFTs of the server and of each simulation, seconds, shape [n]; infinite where there is none."""
        columns = {SERVER: self.trace.ttft_s, **{name: result.ttft_s for name, result in self.simulated.items()}}
        return {name: np.where(np.isnan(column), np.inf, column) for name, column in columns.items()}

    @cached_property
    def alone(self) -> Flags:
        """Which requests had the server for themselves."""
        return ran_alone(self.trace)

    @property
    def notices(self) -> list[str]:
        """What to say of the log, and of how it is simulated."""
        return [*self.trace.notices, *self.replay_notices]

    @property
    def replay_notices(self) -> list[str]:
        """What to say of how the log is simulated."""
        found = next(iter(self.simulated.values())).inputs["concurrency"]
        outstanding = number_of(min(found or 0, len(self.trace)), "request")
        return [f"simulated as a closed loop too: {outstanding} outstanding"] if found else []

    def attainment(self, name: str, scale: float = 1.0, rows: Flags | None = None) -> float:
        """The share of the requests with an SLO (of these rows) that met `scale` times it; NaN of none."""
        counted = ~np.isnan(self.slo.ttft_slo_s) & (True if rows is None else rows)
        met = self.ttft_s[name][counted] <= scale * self.slo.ttft_slo_s[counted]
        return float(met.mean()) if met.size else float("nan")

    def difference_s(self, name: str) -> Floats:
        """What the server took more than a simulation, seconds, shape [n]; NaN where one of them has no first token."""
        both = np.isfinite(self.ttft_s[SERVER]) & np.isfinite(self.ttft_s[name])
        return np.where(both, self.trace.ttft_s - np.where(both, self.ttft_s[name], 0.0), np.nan)

    def tables(self) -> list[TextTable]:
        """The comparison as tables."""
        return [self._attainments(), self._quantiles(), self._lengths(), self._classes()]

    def places(self, name: str) -> list[tuple[str, str]]:
        """Where the difference of a simulation sits: names and values."""
        off_s, known = self.difference_s(name), ~np.isnan(self.difference_s(name))
        alone = known & self.alone
        if alone.sum() < 2:
            return [("alone", f"{number_of(int(alone.sum()), 'request')}: too few to tell a constant from a factor")]
        simulated_s = np.where(known, self.ttft_s[name], 0.0)
        columns = np.column_stack([np.ones(known.size), simulated_s])
        constant_s, factor = least_absolute(columns[alone], off_s[alone]).tolist()
        left_s = off_s - constant_s - factor * simulated_s
        rows = [
            ("constant", f"{constant_s * 1e3:+.3g} ms, whatever the length, by {int(alone.sum()):,} that ran alone"),
            ("by length", f"{percent(factor, 2, '+')} of the simulated TTFT, by the same"),
        ]
        if (queued := known & ~self.alone).any():
            queue = f"{np.median(left_s[queued]) * 1e3:+.3g} ms beyond these"
            rows.append(("in the queue", f"{queue}, median of the others"))
        tail = f"{np.quantile(left_s[known], 0.99) * 1e3:+.3g} ms beyond constant and length"
        return [*rows, ("in the tail", f"{tail}, 99th percentile of all")]

    def charts(self, name: str) -> list[Chart]:
        """Where it sits, drawn: by length and at its quantiles, of those that ran alone and of those that did not."""
        off_ms, length = 1e3 * self.difference_s(name), self.trace.input_length
        by_length, spread = [], []
        for colour, (who, rows) in enumerate({"ran alone": self.alone, "met others": ~self.alone}.items()):
            here = np.flatnonzero(rows & ~np.isnan(off_ms))
            if here.size:
                ordered = here[np.argsort(length[here], kind="stable")]
                parts = np.array_split(ordered, min(PARTS, here.size))
                tokens, medians = ([float(np.median(values[part])) for part in parts] for values in (length, off_ms))
                by_length.append(Series(who, tokens, medians, colour=colour))
                spread.append(Series(who, PERCENTS, np.percentile(off_ms[here], PERCENTS).tolist(), colour=colour))
        difference = Axis("server - simulated, ms")
        return [
            Chart(Axis("prompt, tokens", log=True), difference, by_length, title="Median by length"),
            Chart(Axis("share of requests, %"), difference, spread, title="From the least to the tail"),
        ]

    def page(self) -> Page:
        """The comparison as a page."""
        names = list(self.ttft_s)
        lines = [
            Series(name, SCALES, [100 * self.attainment(name, scale) for scale in SCALES], colour=place)
            for place, name in enumerate(names)
        ]
        chart = Chart(Axis("SLO scale"), Axis("attainment, %", low=0, high=100), lines)
        about = [Paragraph(line) for line in self.notices]
        tables = [Section(table.title, [Table(table.header, table.rows)]) for table in self.tables()]
        places = [
            Section(f"Where {name} differs", [Facts(self.places(name)), *self.charts(name)]) for name in self.simulated
        ]
        return Page(
            f"{self.trace.name} beside its simulation", [Section("Attainment", [*about, chart]), *tables, *places]
        )

    def _repr_html_(self) -> str:
        tables = [((table.title, *table.header[1:]), table.rows) for table in self.tables()]
        return render(
            "summary.html", title=f"{self.trace.name} beside its simulation", tables=tables, notes=self.notices
        )

    def save(self, folder: str | Path) -> Path:
        """Write validation.html into a folder. InputError: it cannot be written."""
        path = Path(folder) / "validation.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_page(self.page(), path)
        return path

    def _attainments(self) -> TextTable:
        rows = [[f"{scale:g}", *(percent(self.attainment(name, scale)) for name in self.ttft_s)] for scale in SCALES]
        failed = int(np.isnan(self.trace.ttft_s).sum())
        missed = f"; {number_of(failed, 'request')} that failed on the server missed every SLO" if failed else ""
        return TextTable(f"Attainment by SLO scale{missed}", ["SLO scale", *self.ttft_s], rows)

    def _quantiles(self) -> TextTable:
        rows = [
            [name, *(_seconds(quantile(column, share)) for column in self.ttft_s.values())]
            for name, share in SHARES.items()
        ]
        return TextTable("TTFT", ["quantile", *self.ttft_s], rows)

    def _lengths(self) -> TextTable:
        edges = (0, *BAND_TOKENS, int(max(self.trace.input_length.max(), BAND_TOKENS[-1] + 1)))
        rows = []
        for low, high in pairwise(edges):
            here = (self.trace.input_length > low) & (self.trace.input_length <= high)
            if here.any():
                rows.append(self._row(f"{low + 1:,} to {high:,}", here))
        return TextTable("Server - simulated, median, by prompt length", ["tokens", "requests", *self.simulated], rows)

    def _row(self, name: str, here: Flags) -> list[str]:
        medians = []
        for simulated in self.simulated:
            off_s = self.difference_s(simulated)[here]
            medians.append(f"{np.nanmedian(off_s) * 1e3:+.3g} ms" if (~np.isnan(off_s)).any() else "-")
        return [name, f"{int(here.sum()):,}", *medians]

    def _classes(self) -> TextTable:
        rows = []
        for code, name in enumerate(self.slo.class_names):
            here = self.slo.class_code == code
            if here.any():
                rows.append([name, *(percent(self.attainment(one, rows=here)) for one in self.ttft_s)])
        return TextTable("Attainment by class", ["class", *self.ttft_s], rows)


def compare_server(trace: Trace, run: RunOptions, policies: Sequence[str]) -> ServerComparison:
    """A log of a server beside simulations of its requests; one of a closed loop is simulated as such.

    Args:
        trace: the log: with measured TTFTs.
        run: how the server is simulated, but for its policy.
        policies: the specifications of the policies.

    Raises:
        InputError: the log has no TTFTs, or something in the options is wrong.
    """
    if not trace.has("ttft_s"):
        raise InputError(trace.where, "has no measured TTFTs", expected="the log of a server")
    concurrency = run.workload.concurrency or trace.concurrency
    run = structs.replace(run, workload=structs.replace(run.workload, concurrency=concurrency))
    simulated = {}
    for policy in policies:
        options = structs.replace(run, policy=PolicySpec.parse(policy), bound=False)
        simulated[policy] = execute(prepare(options, Given(trace=trace)))
    return ServerComparison(trace, next(iter(simulated.values())).slo, simulated)


def _seconds(value_s: float) -> str:
    return f"{value_s:.4g} s" if np.isfinite(value_s) else "never"
