"""The loop over time: arrivals, then what the devices do, then decisions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.core.policy import Policy
from flowsim.core.predictor import Predictor
from flowsim.core.prefix_cache import Prefixes
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from support.reference.instance import Site


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
) -> Reference:
    """Replay requests (in order of arrival) the slow way."""
    sites = [Site(policy, cost, predictor, server, prefixes) for _ in range(server.instances)]
    result = Reference(sites)
    coming, last = list(requests), 0.0
    while True:
        times = [coming[0].arrival_s if coming else math.inf]
        times += [min(site.event_s, site.decide_s) for site in sites]
        now = min(times)
        if now == math.inf and until_s == math.inf:
            break
        for site in sites:
            site.spend(last, min(now, until_s))
        last = min(now, until_s)
        if now >= until_s:
            break
        while coming and coming[0].arrival_s == now:
            request = coming.pop(0)
            turn = len(result.instance) % len(sites)
            least = min(range(len(sites)), key=lambda i: (sites[i].work_s, i))
            result.instance[request.id] = index = turn if server.router == "round-robin" else least
            sites[index].arrive(request, now)
        for site in sites:
            if site.event_s == now:
                site.heard(now)
        for site in sites:
            if site.decide_s == now:
                site.decide(now)
    result.end_s = last
    for site in sites:
        site.close(last)
    return result
