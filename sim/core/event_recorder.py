"""A recorder that keeps every event as well as adding it up; runs that do not keep events use the plain `Recorder`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowsim.core.events import Event
from flowsim.core.ledger import Ledger, Recorder


class EventRecorder(Recorder):
    """A recorder that keeps every event as well, in `events`; its methods are those of `Recorder`, one per event."""

    keeps_events = True

    def __init__(self, ledger: Ledger, instance: int = 0) -> None:
        super().__init__(ledger, instance)
        self.events: list[Event] = []


def _keeping(kind: type[Event]) -> Callable[..., None]:
    """The recorder's method for this kind of event, which also keeps the event."""
    add = getattr(Recorder, kind.method())

    def keep(recorder: EventRecorder, *fields: Any) -> None:
        recorder.events.append(kind(*fields))
        add(recorder, *fields)

    return keep


for _kind in Event.__subclasses__():
    setattr(EventRecorder, _kind.method(), _keeping(_kind))
