"""The bound of one workload on one server: the most that any scheduler could attain, and what one does attain."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.calibration.costs.predictor import make_predictor
from flowsim.clairvoyant.demand import Demand, Floats, demand
from flowsim.clairvoyant.oracle import Oracle
from flowsim.clairvoyant.schedulable import Jobs, all_in_time, most_in_time
from flowsim.core.prefix_cache import Prefixes
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.engine.simulate import Outcome, kv_capacity_tokens, simulate
from flowsim.io.counts import number_of, percent
from flowsim.io.notebook import facts_html

Flags = NDArray[np.bool_]
SHARES = (0.5, 0.0)
"""A request is chosen as if it took its least work and this share of what it takes alone beyond that."""


class Bound(Struct, frozen=True):
    """How much of a workload could attain its SLOs.

    Attributes:
        counted: requests that count.
        hopeless: of these, those whose least work takes longer than their SLO, or that no instance can hold.
        most: no scheduler serves more of them in time, whatever it knows.
        least: how many a scheduler that knows all arrivals serves in time, in the simulation.
    """

    counted: int
    hopeless: int
    most: int
    least: int

    @property
    def upper(self) -> float:
        """The clairvoyant bound: no scheduler has a higher attainment; NaN if no request counts."""
        return self.most / self.counted if self.counted else math.nan

    @property
    def lower(self) -> float:
        """The optimum is at least this attainment; NaN if no request counts."""
        return self.least / self.counted if self.counted else math.nan

    def _repr_html_(self) -> str:
        return facts_html("Bound", self.facts())

    def facts(self) -> list[tuple[str, str]]:
        """The bound in words: names and values."""
        if not self.counted:
            return [("bound", "none: no request counts")]
        counted, one = number_of(self.counted, "request"), self.hopeless == 1
        hopeless, fit = number_of(self.hopeless, "request"), "fits" if one else "fit"
        takes = "takes longer than its" if one else "take longer than their"
        return [
            ("upper bound", f"{percent(self.upper)}: no scheduler attains more than {self.most:,} of {counted}"),
            ("lower bound", f"{percent(self.lower)}: a scheduler that knows all arrivals attains {self.least:,}"),
            ("hopeless", f"{hopeless} {takes} SLO at the least work, or {fit} in no instance"),
        ]


Bounding = Callable[[int], Bound]
"""The bound of a workload beside a scheduler that attains a given number of its requests."""


@dataclass(frozen=True, eq=False)
class Clairvoyant:
    """The bound of a workload that is replayed to its end; each part is worked out once, when it is first asked for.

    Upper: every request needs at least its `demand`; requests that fit nowhere or miss their SLO alone are dropped; the
    others are jobs for one machine that is as fast as all instances together. Prefills that share passes, KV blocks,
    runner slots, checks, decisions and host times only tighten this. A request is there from its arrival at the server
    on, and its token must leave in time for the way back to the client. Lower: the replay under `Oracle`.

    Attributes:
        requests: makes the requests, fresh each time, by the time when they were sent.
        counted: which of them count, shape [n].
        costs: what passes cost.
        server: instances and their limits.
        prefixes: the prefix cache of each instance; None if it has none.
        progress: called now and then, as replays go on, with (requests arrived in all of them, requests of all).
    """

    requests: Callable[[], list[Request]]
    counted: Flags
    costs: CostModel
    server: ServerOptions
    prefixes: Prefixes | None = None
    progress: Callable[[int, int], None] | None = None

    @cached_property
    def upper(self) -> Bound:
        """The upper bound alone: `least` is 0."""
        ids, jobs = self._hopeful
        counted = int(self.counted.sum())
        return Bound(counted, counted - ids.size, math.floor(most_in_time(jobs) + 1e-6), 0)

    @cached_property
    def both(self) -> Bound:
        """The upper bound, and the best replay under `Oracle`."""
        return msgspec.structs.replace(self.upper, least=int(self.served.sum()))

    @cached_property
    def served(self) -> Flags:
        """Which of the requests that count the best replay under `Oracle` serves in time, shape [n]."""
        n = self.counted.size
        best = np.zeros(n, bool)
        choices = _choices(self.requests(), *self._hopeful, self.costs, self.server)
        for replay, choice in enumerate(choices):
            progress = self.progress and partial(_tell, self.progress, n * replay, n * len(choices))
            best = max(best, self._served(choice, progress), key=np.sum)
            if best.sum() == self.upper.most:
                break
        return best

    @cached_property
    def hopeless(self) -> Flags:
        """Which requests take longer than their SLO at the least work, or fit in no instance, shape [n]."""
        these, needs = self._needs
        left_s = np.array([r.slo_s - (r.arrival_s - r.sent_s) - self.server.return_s for r in these])
        return ~_holdable(these, self.costs, self.server) | (needs.ttft_s > left_s)

    def beside(self, attained: int, *, replayed: bool = True) -> Bound:
        """The bound, given a scheduler that attains this many requests; worked out only as far as needed.

        Unless `replayed`, no oracle is replayed, and the lower bound is what this scheduler attains.
        """
        counted = int(self.counted.sum())
        if attained == counted:
            return Bound(counted, 0, counted, counted)
        known = self.both if replayed and attained < self.upper.most else self.upper
        return msgspec.structs.replace(known, least=max(known.least, attained))

    @cached_property
    def offered_load(self) -> float:
        """The least device seconds of work that arrive per second at each instance: at 1 all are always busy.

        Request rate * mean `demand` / instances; what no instance can hold has no demand. In queueing theory this is
        rho = lambda E[S] / c (Kleinrock 1975), here with the least S. Infinite if all requests arrive at one instant.
        """
        these, needs = self._needs
        work_s = float(needs.work_s[_holdable(these, self.costs, self.server)].sum())
        span_s = these[-1].sent_s - these[0].sent_s
        rate_rps = (len(these) - 1) / span_s if span_s else math.inf
        return rate_rps * work_s / len(these) / self.server.instances

    @cached_property
    def _needs(self) -> tuple[list[Request], Demand]:
        these = self.requests()
        return these, demand(these, self.costs, self.server, self.prefixes)

    @cached_property
    def _hopeful(self) -> tuple[NDArray[np.int64], Jobs]:
        """The requests that are not hopeless: their ids in order of arrival, and as jobs."""
        these, needs = self._needs
        arrival_s = np.array([request.arrival_s for request in these])
        order = np.argsort(arrival_s, kind="stable")
        ids = order[(self.counted & ~self.hopeless)[order]]
        work_s = needs.work_s[ids] / self.server.instances
        return ids, _jobs([these[id] for id in ids], work_s, self.server.return_s, needs.gained_s)

    def _served(self, choice: frozenset[int], progress: Callable[[int], None] | None) -> Flags:
        """Which of the requests that count are served in time when these are to be, shape [n]."""
        requests, oracle = self.requests(), Oracle(choice)
        costs = PassCosts(self.costs, self.server, oracle.cut)
        exact = make_predictor("exact", costs)
        outcome = simulate(requests, oracle, costs, exact, prefixes=self.prefixes, progress=progress)
        return self.counted & in_time(requests, outcome, self.server.return_s)


def in_time(requests: Sequence[Request], outcome: Outcome, return_s: float) -> Flags:
    """Which requests a replay served in time, shape [n]; `return_s`: from a first token until the client has it."""
    sent_s, slo_s = (np.array([getattr(request, name) for request in requests]) for name in ("sent_s", "slo_s"))
    served: Flags = np.array(outcome.ledger.finished_s) + return_s - sent_s <= slo_s
    return served


def _holdable(requests: Sequence[Request], costs: CostModel, server: ServerOptions) -> Flags:
    """Which requests an instance can hold."""
    room = kv_capacity_tokens(server, costs)
    return np.array([r.kv_tokens <= room and r.input_length <= costs.max_context for r in requests], bool)


def _jobs(requests: Sequence[Request], work_s: Floats, return_s: float, gained_s: float) -> Jobs:
    """These requests as jobs, due `return_s` before their clients' deadlines.

    A deadline that is later by what a rested GPU gains stands for that gain.
    """
    gained_s = gained_s if math.isfinite(gained_s) else 0.0  # else the work is that of a rested GPU
    release_s = np.array([request.arrival_s for request in requests])
    deadline_s = np.array([request.deadline_s - return_s for request in requests])
    return Jobs(release_s, deadline_s + gained_s, work_s)


def _choices(
    requests: Sequence[Request], ids: NDArray[np.int64], jobs: Jobs, costs: CostModel, server: ServerOptions
) -> list[frozenset[int]]:
    """Sets of requests to try to serve in time: all, and some that fit together."""
    checked = PassCosts(costs, server, "operator")
    solo_s = np.array([checked.solo_s(requests[id].tokens) for id in ids.tolist()])
    solo_s = np.maximum(solo_s / server.instances, jobs.work_s)
    deadline_s = np.array([requests[id].deadline_s - server.return_s for id in ids.tolist()])
    sets = [frozenset(ids.tolist())]
    for share in SHARES:
        work_s = jobs.work_s + share * (solo_s - jobs.work_s)
        fits = all_in_time(Jobs(jobs.release_s, deadline_s, work_s))
        sets.append(frozenset(ids[fits].tolist()))
    return sets


def _tell(progress: Callable[[int, int], None], before: int, total: int, arrived: int) -> None:
    progress(before + arrived, total)
