"""The trace formats that flowsim reads, as a table: which fields hold what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flowsim.traces.columns import SECONDS

CLOCKS = {
    "s": SECONDS,
    "ms": "a finite number of milliseconds, not negative",
    "date": "a UTC date and time such as 2023-11-16 18:15:46.6805900",
}
"""What the arrival field of a format may hold."""


@dataclass(frozen=True)
class Format:
    """A file format: which fields hold what, and which fields give it away.

    A new format is one more entry of `FORMATS`. Output length and class may be missing from any row.
    """

    name: str
    layout: Literal["jsonl", "csv"]
    arrival: str
    input_length: str
    output_length: str
    class_name: str | None = None
    clock: Literal["s", "ms", "date"] = "s"
    """The arrival field is in seconds, in milliseconds, or a date with a time of day (UTC)."""
    marks: tuple[str, ...] = ()
    """Further fields that the first row must have for the format to be recognised."""
    ticks: bool = False
    """Its time stamps may sit on ticks, many requests on one, see `read_trace`."""

    @property
    def signature(self) -> tuple[str, ...]:
        """The fields by which a file is recognised."""
        return (self.arrival, self.input_length, *self.marks)


_OWN = ("arrival_s", "input_length", "output_length", "class")
_STAMPED = ("timestamp", "input_length", "output_length")
_AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_BURSTGPT = ("Timestamp", "Request tokens", "Response tokens")
_VIDUR = ("arrived_at", "num_prefill_tokens", "num_decode_tokens")

FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in (
        Format("flowsim", "jsonl", *_OWN),
        Format("qwen", "jsonl", *_STAMPED, "type", marks=("type",)),
        Format("mooncake", "jsonl", *_STAMPED, clock="ms", marks=("hash_ids",), ticks=True),
        Format("azure", "csv", *_AZURE, clock="date"),
        Format("burstgpt", "csv", *_BURSTGPT),
        Format("vidur", "csv", *_VIDUR),
    )
}
"""The formats by name; the first one that fits a file's first row is taken."""
