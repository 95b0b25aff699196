"""The trace formats that flowsim reads and writes: a table of which fields hold what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from flowsim.errors import InputError, shown, unknown
from flowsim.traces.columns import SECONDS

Layout = Literal["jsonl", "csv", "parquet"]
CLOCKS = {
    "s": SECONDS,
    "ms": "a finite number of milliseconds from 0 to 1000 * 2**40",
    "date": "a UTC date and time such as 2023-11-16 18:15:46.6805900",
}
"""What the arrival field may hold, by the clock of the format."""
TICKS_PER_S = {"s": 1.0, "ms": 1000.0}
"""Ticks per second of the clocks that are numbers."""


class Format(Struct, frozen=True):
    """A file format: which fields hold what, and by which fields it is recognised.

    A new format is one more entry in `FORMATS`. Every field but arrival and input length may be missing from any
    row. The layout is the one the format is published in and written in; every format is read from JSON lines, CSV
    and Parquet alike.
    """

    name: str
    layout: Layout
    arrival: str
    input_length: str
    output_length: str | None = None
    class_name: str | None = None
    clock: Literal["s", "ms", "date"] = "s"
    """Whether the arrival field is in seconds, in milliseconds, or a UTC date and time."""
    marks: tuple[str, ...] = ()
    """Further fields that the first row must have for the format to be recognised."""
    coarse: bool = False
    """Whether its time stamps are known to be so coarse that many requests share one; see `reading.stamps.spread`."""
    hash_ids: str | None = None
    """Field with the ids of a request's prefix blocks."""
    block_tokens: int | str | None = None
    """Tokens per block, or the field that holds that number."""
    chats: tuple[str, str, str] | None = None
    """Fields with the id of a request's conversation, the id of the request it continues, and its turn."""
    slo_s: str | None = None
    """Field with the TTFT SLO of a request in seconds."""
    priority: str | None = None
    """Field with the priority of a request, a whole number."""
    client: str | None = None
    """Field with the name of the client (tenant) that sent a request."""
    total_length: str | None = None
    """Field with the sum of input and output length, which is checked."""
    ttft: str | None = None
    """Field with what a real server took to the first token of a request."""
    latency: str | None = None
    """Field with what it took to the last token."""
    measured_in: Literal["s", "ms"] = "s"
    """The unit of these two."""
    no_output_is_failure: bool = False
    """Whether an output length of 0 says that the request failed, rather than that it is unknown."""

    @property
    def is_profile(self) -> bool:
        """Whether requests ran one after another: there is no field of arrivals, and that of TTFTs is in its place."""
        return self.arrival == self.ttft

    @property
    def signature(self) -> tuple[str, ...]:
        """The fields by which a file is recognised."""
        return (self.arrival, self.input_length, *self.marks)

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields that are read, arrival and input length first."""
        others = (self.output_length, self.class_name, self.hash_ids, self.block_tokens, *(self.chats or ()))
        more = (self.slo_s, self.priority, self.client, self.total_length, self.ttft, self.latency)
        return (self.arrival, self.input_length, *(name for name in (*others, *more) if isinstance(name, str)))


_OWN = ("arrival_s", "input_length", "output_length", "class")
_STAMPED = ("timestamp", "input_length", "output_length")
_CHATS = ("chat_id", "parent_chat_id", "turn")
_AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_BURSTGPT = ("Timestamp", "Request tokens", "Response tokens")
_VIDUR = ("arrived_at", "num_prefill_tokens", "num_decode_tokens")

FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in (
        Format(
            "flowsim",
            "jsonl",
            *_OWN,
            hash_ids="hash_ids",
            block_tokens="block_tokens",
            chats=_CHATS,
            slo_s="slo_s",
            priority="priority",
            client="client",
            ttft="ttft_s",
            latency="latency_s",
        ),
        Format("qwen", "jsonl", *_STAMPED, "type", marks=("type",), hash_ids="hash_ids", block_tokens=16, chats=_CHATS),
        Format(
            "mooncake",
            "jsonl",
            *_STAMPED,
            clock="ms",
            marks=("hash_ids",),
            coarse=True,
            hash_ids="hash_ids",
            block_tokens=512,
        ),
        Format("azure", "csv", *_AZURE, clock="date"),
        Format("burstgpt", "csv", *_BURSTGPT, total_length="Total tokens", no_output_is_failure=True),
        Format("vidur", "csv", *_VIDUR),
    )
}
"""The formats by name; a file is read in the first one that fits its first row. Azure's traces of 2023 and of 2024
have the same format."""

USER_FIELDS = (
    *("arrival_s", "arrival_ms", "arrival_date", "input_length", "output_length", "class"),
    *("slo_s", "priority", "client", "ttft_s", "ttft_ms", "latency_s", "latency_ms"),
)
"""The keys of a format that the user describes, see `find_format`."""
ARRIVALS = re.compile("arriv|time_?stamp|start|sent|send", re.IGNORECASE)
"""What the name of a field of arrivals may have in it."""


def find_format(spec: str, others: Iterable[str] = ()) -> Format:
    """The format of this name, or one whose fields the user names.

    The latter is written as pairs such as "arrival_s=ts,input_length=prompt,class=kind"; the arrival is arrival_s,
    arrival_ms or arrival_date, according to its unit. Without an arrival, but with a TTFT, it is a profile: each
    request was sent when the one before was through.

    Args:
        spec: the name, or the pairs.
        others: what is known besides FORMATS, to be listed if the name is unknown.

    Raises:
        InputError: an unknown format or key, a pair without a field, a repeated key, or a missing one.
    """
    if "=" not in spec:
        if spec not in FORMATS:
            raise unknown("trace format", spec, [*FORMATS, *others], where="format")
        return FORMATS[spec]
    fields = _named_fields(spec)
    arrivals = [key for key in fields if key.startswith("arrival_")]
    ttfts = [key for key in fields if key.startswith("ttft_")]
    if len(arrivals or ttfts) != 1 or "input_length" not in fields:
        needed = "one of arrival_s, arrival_ms and arrival_date, and input_length"
        raise InputError(f"trace format {spec!r}", f"has {', '.join(fields)}", expected=needed)
    (arrival,) = arrivals or ttfts
    clock = arrival.partition("_")[2]
    units = {key[-2:] for key in fields if key.startswith(("ttft_", "latency_"))}
    if len(units) > 1:
        raise InputError(f"trace format {spec!r}", "has a TTFT and a latency in different units", expected="one unit")
    unit: Literal["s", "ms"] = "ms" if units == {"ms"} else "s"
    return Format(
        spec,
        "csv",
        fields[arrival],
        fields["input_length"],
        fields.get("output_length"),
        fields.get("class"),
        clock="s" if clock == "s" else "ms" if clock == "ms" else "date",
        slo_s=fields.get("slo_s"),
        priority=fields.get("priority"),
        client=fields.get("client"),
        ttft=fields.get(f"ttft_{unit}"),
        latency=fields.get(f"latency_{unit}"),
        measured_in=unit,
    )


def own_format(where: str, header: Sequence[str]) -> Format | None:
    """The format of a table whose fields have the names of USER_FIELDS, other than flowsim's own: arrivals or TTFTs in
    milliseconds, arrivals as dates, or a profile; None if there is no such field.

    Raises:
        InputError: it has several fields of arrivals, or none that is read but one that seems to be one.
    """
    keys = [key for key in USER_FIELDS if key in header and not (key[-3:] == "_ms" and f"{key[:-3]}_s" in header)]
    if set(keys) <= set(FORMATS["flowsim"].fields) and "arrival_s" in keys:
        return None
    if "input_length" not in keys or not any(key.startswith(("arrival_", "ttft_")) for key in keys):
        return None
    kind = find_format(",".join(f"{key}={key}" for key in keys))
    seeming = [name for name in header if name not in keys and ARRIVALS.search(name)]
    if kind.is_profile and seeming:
        found = f"has TTFTs but no field of arrivals, unless {shown(seeming[0])} is one"
        raise InputError(where, found, expected="--format that names the fields, of a profile without arrivals")
    return kind


def _named_fields(spec: str) -> dict[str, str]:
    """The fields that the user names, by key."""
    fields: dict[str, str] = {}
    for pair in spec.split(","):
        key, _, field = (part.strip() for part in pair.partition("="))
        if key not in USER_FIELDS:
            raise unknown("key", key, USER_FIELDS).within(f"trace format {spec!r}")
        if not field or key in fields:
            raise InputError(f"trace format {spec!r}: {key}", "is given twice" if field else "names no field")
        fields[key] = field
    return fields
