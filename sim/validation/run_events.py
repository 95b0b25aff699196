"""The events of a real run, in a file beside its case: one line of JSON per event, compressed.

A file is that of the run which it agrees with: the events add up to its times and pauses. Files that no run of the case
counts are ignored; a run without one was recorded before events were kept.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Union

import msgspec
from msgspec.structs import asdict

from flowsim.core.events import Completed, Event, Stopped, Thought, fold, pauses
from flowsim.core.ledger import Ledger, Recorder
from flowsim.errors import InputError
from flowsim.io.folders import exists
from flowsim.traces.reading.compression import read_lines
from flowsim.validation.case import DIGITS, GpuRun, stored_seconds

ROUNDED_S = 10.0**-DIGITS
"""By so much the sum of two times may exceed a third by their rounding."""
EXPECTED = "the events of a run on a GPU"
LINES: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Union[tuple(Event.__subclasses__())])  # noqa: UP007 (no |)


def events_file(slug: str, number: int) -> str:
    """The name of the file of a case's run of this number, from 1."""
    return f"{slug}.events-{number}.jsonl.gz"


def write_events(path: Path, events: Iterable[Event]) -> None:
    """Write the events of a run, their times rounded to microseconds, as those of the case are."""
    lines = msgspec.json.Encoder().encode_lines([_rounded(event) for event in events])
    path.write_bytes(gzip.compress(lines, mtime=0))


def read_events(path: Path, run: GpuRun) -> list[Event] | None:
    """The events of a run, None if there is no such file. InputError: it is damaged, or contradicts the run."""
    if not exists(path):
        return None
    try:
        events = LINES.decode_lines(b"".join(block.text for block in read_lines(path)))
    except msgspec.MsgspecError as error:
        raise InputError(str(path), f"is damaged: {error}", expected=EXPECTED) from None
    try:
        _check(events, run)
        _compare(events, run)
    except InputError as error:
        raise error.within(str(path)) from None
    return events


def stored_pauses(events: Iterable[Event]) -> list[list[float | None]]:
    """The preemptions among these events, as `GpuRun.pauses` has them."""
    return [[pause.execution, *stored_seconds(pause[1:])] for pause in pauses(events)]


def _rounded(event: Event) -> Event:
    values = {name: round(one, DIGITS) if isinstance(one, float) else one for name, one in asdict(event).items()}
    if isinstance(event, Thought):  # it ends when it ended, rounded: before the next begins
        values["control_s"] = round(round(event.time_s + event.control_s, DIGITS) - values["time_s"], DIGITS)
    return type(event)(**values)


def _check(events: Sequence[Event], run: GpuRun) -> None:
    """InputError: an event is of no request or time of the run, or the device does two things at a time."""
    free_s, requests = 0.0, len(run.started_s)
    for number, event in enumerate(events, 1):
        for id in _requests(event):
            if not 0 <= id < requests:
                raise InputError(f"line {number}", f"names request {id}", expected=f"0 to {requests - 1}")
        until_s = event.time_s + (event.control_s if isinstance(event, Thought) else 0.0)
        if not 0 <= event.time_s <= until_s <= run.stopped_s + ROUNDED_S:
            found = f"lasts from {event.time_s} to {until_s} s"
            raise InputError(f"line {number}", found, expected=f"times from 0 to {run.stopped_s} s")
        if isinstance(event, Stopped | Completed):
            if not free_s <= event.began_s <= event.ended_s <= event.time_s:
                found = f"ran from {event.began_s} to {event.ended_s} s, and was heard of at {event.time_s} s"
                raise InputError(f"line {number}", found, expected=f"ascending times from {free_s} s on")
            free_s = event.ended_s


def _requests(event: Event) -> Iterator[int]:
    for name in ("request", "execution"):
        if hasattr(event, name):
            yield getattr(event, name)
    for name in ("members", "finished"):
        yield from getattr(event, name, ())


def _compare(events: Sequence[Event], run: GpuRun) -> None:
    """InputError: the events do not add up to the run."""
    recorder = Recorder(ledger := Ledger(len(run.started_s)))
    fold(events, recorder)
    columns: dict[str, tuple[Sequence[Any], Sequence[Any]]] = {
        "instance": (ledger.instance, [0] * len(run.started_s)),
        "started_s": (stored_seconds(ledger.started_s), run.started_s),
        "finished_s": (stored_seconds(ledger.finished_s), run.finished_s),
        "rejected_s": (stored_seconds(ledger.rejected_s), run.rejected_s or ()),
        "preemptions": (ledger.preemptions, run.preemptions),
        "blocking_s": (recorder.log.blocking_s, run.blocking_s),
        "pauses": (stored_pauses(events), run.pauses),
        "decisions": ([recorder.log.decisions], [run.decisions]),
    }
    for name, (found, known) in columns.items():
        if list(found) != list(known):
            place = next((i for i, (one, other) in enumerate(zip(found, known, strict=False)) if one != other), None)
            at = name if place is None else f"{name}[{place}]"
            pair = (len(found), f"{len(known)} entries") if place is None else (found[place], str(known[place]))
            raise InputError(at, found=pair[0], expected=f"{pair[1]}, as the run in the case's file has it")
