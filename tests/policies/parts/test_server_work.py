"""The work that the server has completed since a request arrived."""

from __future__ import annotations

from flowsim.policies.parts.server_work import ServerWork


def test_work_counts_from_each_arrival_on() -> None:
    served = ServerWork()
    served.arrived(0)
    served.completed += 5
    served.arrived(1)
    served.completed += 2
    assert [served.since_arrival(id) for id in (0, 1)] == [7, 2]
