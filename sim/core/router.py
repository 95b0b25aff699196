"""Routers: which instance an arriving request goes to. It stays there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flowsim.core.request import Request
from flowsim.errors import unknown


class Routable(Protocol):
    """What a router sees of an instance."""

    work_ns: int
    """Predicted time of all requests that were routed to it and have not finished, nanoseconds."""


class Router(Protocol):
    """Chooses an instance."""

    def route(self, request: Request, instances: Sequence[Routable]) -> int:
        """Index of the instance that gets the request."""


class RoundRobin:
    """Each instance in turn."""

    def __init__(self) -> None:
        self._next = 0

    def route(self, request: Request, instances: Sequence[Routable]) -> int:
        """The next in turn."""
        chosen, self._next = self._next, (self._next + 1) % len(instances)
        return chosen


class LeastWork:
    """The instance with the least predicted work outstanding; ties go to the lower index."""

    def route(self, request: Request, instances: Sequence[Routable]) -> int:
        """The least loaded."""
        work_ns = [instance.work_ns for instance in instances]
        return work_ns.index(min(work_ns))


ROUTERS: dict[str, type[Router]] = {"round-robin": RoundRobin, "least-work": LeastWork}


def make_router(name: str) -> Router:
    """A fresh router of this name.

    Raises:
        InputError: no such router.
    """
    if name not in ROUTERS:
        raise unknown("router", name, ROUTERS, where="router")
    return ROUTERS[name]()
