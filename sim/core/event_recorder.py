"""A recorder that keeps every event as well as adding it up; runs that do not keep events use the plain `Recorder`."""

from __future__ import annotations

from collections.abc import Sequence

from flowsim.core import events as kinds
from flowsim.core.ledger import Ledger, Recorder


class EventRecorder(Recorder):
    """A recorder that keeps every event as well, in `events`; its methods are documented in `Recorder`."""

    keeps_events = True

    def __init__(self, ledger: Ledger, instance: int = 0) -> None:
        super().__init__(ledger, instance)
        self.events: list[kinds.Event] = []

    def arrived(self, time_s: float, request: int) -> None:
        """See `Recorder`."""
        self.events.append(kinds.Arrived(time_s, request))
        super().arrived(time_s, request)

    def rejected(self, time_s: float, request: int, by: str) -> None:
        """See `Recorder`."""
        self.events.append(kinds.Rejected(time_s, request, by))
        super().rejected(time_s, request, by)

    def thought(self, time_s: float, control_s: float) -> None:
        """See `Recorder`."""
        self.events.append(kinds.Thought(time_s, control_s))
        super().thought(time_s, control_s)

    def decided(
        self, time_s: float, waiting: int, started: int, paused: int, running: int | None, chosen: int | None
    ) -> None:
        """See `Recorder`."""
        self.events.append(kinds.Decided(time_s, waiting, started, paused, running, chosen))

    def reused(self, time_s: float, request: int, tokens: int) -> None:
        """See `Recorder`."""
        self.events.append(kinds.Reused(time_s, request, tokens))
        super().reused(time_s, request, tokens)

    def launched(self, time_s: float, execution: int, members: Sequence[int], tokens: Sequence[int]) -> None:
        """See `Recorder`."""
        self.events.append(kinds.Launched(time_s, execution, tuple(members), tuple(tokens)))
        super().launched(time_s, execution, members, tokens)

    def resumed(self, time_s: float, execution: int) -> None:
        """See `Recorder`."""
        self.events.append(kinds.Resumed(time_s, execution))
        super().resumed(time_s, execution)

    def signalled(self, time_s: float, execution: int) -> None:
        """See `Recorder`."""
        self.events.append(kinds.Signalled(time_s, execution))

    def stopped(self, time_s: float, execution: int, members: Sequence[int], began_s: float, ended_s: float) -> None:
        """See `Recorder`."""
        self.events.append(kinds.Stopped(time_s, execution, tuple(members), began_s, ended_s))
        super().stopped(time_s, execution, members, began_s, ended_s)

    def preempted(self, time_s: float, execution: int, members: Sequence[int], blocking_s: float) -> None:
        """See `Recorder`."""
        self.events.append(kinds.Preempted(time_s, execution, tuple(members), blocking_s))
        super().preempted(time_s, execution, members, blocking_s)

    def completed(
        self,
        time_s: float,
        execution: int,
        members: Sequence[int],
        finished: Sequence[int],
        began_s: float,
        ended_s: float,
        taken_s: float,
        check_s: float,
        blocking_s: float | None,
    ) -> None:
        """See `Recorder`."""
        who = tuple(members), tuple(finished)
        self.events.append(kinds.Completed(time_s, execution, *who, began_s, ended_s, taken_s, check_s, blocking_s))
        super().completed(time_s, execution, *who, began_s, ended_s, taken_s, check_s, blocking_s)

    def unfinished(self, time_s: float, execution: int, taken_s: float) -> None:
        """See `Recorder`."""
        self.events.append(kinds.Unfinished(time_s, execution, taken_s))
        super().unfinished(time_s, execution, taken_s)

    def ended(self, time_s: float) -> None:
        """See `Recorder`."""
        self.events.append(kinds.Ended(time_s))
        super().ended(time_s)
