"""How much work the server has completed since each request arrived: a clock that stands still while it is idle."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ServerWork:
    """Work completed so far, in tokens or whatever a policy counts it in.

    Attributes:
        completed: all of it.
        at_arrival: how much of it had been completed when a request arrived, by id.
    """

    completed: float = 0.0
    at_arrival: dict[int, float] = field(default_factory=dict)

    def arrived(self, id: int) -> None:
        """Note that a request arrives now."""
        self.at_arrival[id] = self.completed

    def since_arrival(self, id: int) -> float:
        """The work completed since this request arrived."""
        return self.completed - self.at_arrival[id]
