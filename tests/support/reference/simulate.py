"""The loop over time: arrivals, then what the devices do, then decisions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

from msgspec.structs import force_setattr

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.core.policy import Policy
from flowsim.core.predictor import Predictor
from flowsim.core.prefix_cache import Prefixes
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from support.reference.instance import Site


@dataclass
class Loop:
    """A closed loop: who has been sent, and when each client sends again. Requests come with their frontend's time."""

    unsent: list[Request]
    concurrency: int
    return_s: float
    decode_s: Sequence[float]
    sends_s: list[float] = field(init=False)
    through: set[int] = field(default_factory=set)
    sent_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sends_s = [0.0] * self.concurrency

    @property
    def next_s(self) -> float:
        return min(self.sends_s, default=math.inf) if self.unsent else math.inf

    def sent(self, now: float, rows: dict[int, SimpleNamespace]) -> list[Request]:
        """What clients send now; those whose requests are through since this was last called send another in time."""
        for id, row in rows.items():
            if id not in self.through and (row.rejected or row.finished_s == row.finished_s):
                self.through.add(id)
                first_token_s = row.finished_s + self.return_s + self.decode_s[id]
                self.sends_s.append(now + self.return_s if row.rejected else max(first_token_s, now))
        sent = []
        while self.next_s <= now:
            self.sends_s.remove(self.next_s)
            request = self.unsent.pop(0)
            force_setattr(request, "sent_s", now)
            force_setattr(request, "arrival_s", now + request.arrival_s)
            force_setattr(request, "deadline_s", now + request.slo_s)
            self.sent_s.append(now)
            sent.append(request)
        return sent


@dataclass
class Reference:
    """The outcome of a replay: rows by request id, the site of each, and the sites with their logs."""

    sites: list[Site]
    instance: dict[int, int] = field(default_factory=dict)
    end_s: float = 0.0

    @property
    def rows(self) -> dict[int, SimpleNamespace]:
        return {id: row for site in self.sites for id, row in site.rows.items()}


def step_through(
    requests: Sequence[Request],
    policy: Policy,
    cost: CostModel,
    predictor: Predictor,
    server: ServerOptions,
    until_s: float = math.inf,
    prefixes: Prefixes | None = None,
    loop: Loop | None = None,
) -> Reference:
    """Replay requests (in order of arrival) the slow way; in a closed loop, if there is one."""
    sites = [Site(policy, cost, predictor, server, prefixes) for _ in range(server.instances)]
    result = Reference(sites)
    coming, last = [] if loop else list(requests), 0.0

    def arrive(now: float) -> None:
        while True:
            if loop:
                coming.extend(loop.sent(now, result.rows))
                coming.sort(key=lambda request: (request.arrival_s, request.id))
            if not (coming and coming[0].arrival_s <= now):
                return
            request = coming.pop(0)
            turn = len(result.instance) % len(sites)
            least = min(range(len(sites)), key=lambda i: (sites[i].work_s, i))
            result.instance[request.id] = index = turn if server.router == "round-robin" else least
            sites[index].arrive(request, now)

    while True:
        times = [coming[0].arrival_s if coming else math.inf, loop.next_s if loop else math.inf]
        times += [min(site.event_s, site.decide_s) for site in sites]
        now = min(times)
        if now == math.inf and until_s == math.inf:
            break
        for site in sites:
            site.spend(last, min(now, until_s))
        last = min(now, until_s)
        if now >= until_s:
            break
        arrive(now)
        for site in sites:
            if site.event_s == now:
                site.heard(now)
        if loop:
            arrive(now)
        for site in sites:
            if site.decide_s == now:
                site.decide(now)
    result.end_s = last
    for site in sites:
        site.close(last)
    return result
