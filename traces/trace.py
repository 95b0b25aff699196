"""The trace: an immutable sequence of requests in columns, from a file or built in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowsim.errors import InputError
from flowsim.io.counts import number_of
from flowsim.io.seeds import generator
from flowsim.traces.columns import ABSENT, LARGEST, ROW_COLUMNS, Blocks, Chats, Floats, Ints, checked_columns
from flowsim.traces.trace_facts import digest_of, facts_of, frame_of, page_of

if TYPE_CHECKING:
    import pandas as pd


def _unknown() -> Any:
    """An optional column that nobody gave; `Trace` fills it."""
    return np.zeros(0)


@dataclass(frozen=True, eq=False, repr=False)
class Trace:
    """Requests in the order of their arrival; one attribute per column, each an array of shape [n].

    Build one with `Trace.of`, `read_trace` or `synthesize`, which check and sort their input. The columns are
    read-only, and every method that changes something returns another trace.
    """

    arrival_s: Floats
    """Arrival times in seconds, non-decreasing; the first is 0."""
    input_length: Ints
    """Prompt lengths in tokens, all positive."""
    output_length: Ints
    """Answer lengths in tokens; 0 = unknown."""
    class_code: Ints
    """Index into `class_names`; -1 = no class."""
    class_names: tuple[str, ...]
    """The classes in the order of their first appearance; empty if the trace has none."""
    name: str
    """A short name for tables and plots."""
    source: str
    """Where the requests come from: a path or a description."""
    sha256: str
    """SHA-256 of the file's bytes on disk, or of the columns if the trace was built in memory."""
    notices: tuple[str, ...] = ()
    """What was done to the requests (sorted, shifted, spread, scaled), one line each."""
    blocks: Blocks | None = None
    """The prefix blocks of the requests, if known."""
    chats: Chats | None = None
    """The conversations of the requests, if known."""
    start_ns: int | None = None
    """Nanoseconds since 1970 (UTC) at second 0, if the date is known."""
    slo_s: Floats = field(default_factory=_unknown)
    """TTFT SLO of each request in seconds; NaN = the trace gives none."""
    priority: Ints = field(default_factory=_unknown)
    """Priority of each request, a whole number; 0 = none is given. What it means is for the policy to say."""
    client_code: Ints = field(default_factory=_unknown)
    """Index into `client_names`; -1 = unknown."""
    client_names: tuple[str, ...] = ()
    """The clients (tenants) in the order of their first appearance; empty if the trace has none."""
    ttft_s: Floats = field(default_factory=_unknown)
    """What a real server took from the send of each request to its first token, seconds; NaN = unknown."""
    latency_s: Floats = field(default_factory=_unknown)
    """What a real server took from the send of each request to its last token, seconds; NaN = unknown."""
    concurrency: int | None = None
    """Of a log of a closed loop, how many requests were outstanding; None of any other trace."""

    def __post_init__(self) -> None:
        for name, absent in ABSENT.items():
            if not getattr(self, name).size:
                object.__setattr__(self, name, np.full(len(self), absent))
        for column in self.arrays():
            column.flags.writeable = False

    def arrays(self) -> Iterator[NDArray[Any]]:
        """All columns, in the order in which they are hashed."""
        yield from (self.arrival_s, *(getattr(self, name) for name in ROW_COLUMNS))
        if self.blocks is not None:
            yield from (self.blocks.ids, self.blocks.offsets)
        if self.chats is not None:
            yield from (self.chats.chat_id, self.chats.parent_chat_id, self.chats.turn)

    @classmethod
    def of(
        cls,
        arrival_s: ArrayLike,
        input_length: ArrayLike,
        output_length: ArrayLike | None = None,
        classes: Sequence[str | None] | None = None,
        *,
        slo_s: ArrayLike | None = None,
        priority: ArrayLike | None = None,
        clients: Sequence[str | None] | None = None,
        ttft_s: ArrayLike | None = None,
        latency_s: ArrayLike | None = None,
        name: str = "trace",
        source: str = "built in memory",
    ) -> Trace:
        """A trace from columns of equal length.

        Requests that are out of order are sorted (stably), and times are shifted to start at 0; each leaves a notice.

        Args:
            arrival_s: arrival times in seconds, >= 0.
            input_length: prompt lengths in tokens, >= 1.
            output_length: answer lengths in tokens, 0 = unknown; default: all unknown.
            classes: class names, None = no class; default: no classes.
            slo_s: TTFT SLOs in seconds, > 0, NaN = none; default: none.
            priority: whole numbers; default: all 0.
            clients: names of clients (tenants), None = unknown; default: all unknown.
            ttft_s: what a real server took to the first token, seconds, > 0, NaN = unknown; default: all unknown.
            latency_s: the same to the last token.
            name: a short name for tables and plots.
            source: where the requests come from.

        Raises:
            InputError: names the column and the row of the first bad value, or the column of the wrong length.
        """
        given: dict[str, Any] = {"arrival_s": arrival_s, "input_length": input_length, "output_length": output_length}
        given |= {"classes": classes, "slo_s": slo_s, "priority": priority, "clients": clients}
        given |= {"ttft_s": ttft_s, "latency_s": latency_s}
        return cls.from_columns(**checked_columns(given), name=name, source=source)

    @classmethod
    def from_columns(
        cls,
        arrival_s: Floats,
        input_length: Ints,
        output_length: Ints,
        class_code: Ints,
        class_names: tuple[str, ...],
        *,
        ticks: float = 1.0,
        name: str,
        source: str,
        sha256: str = "",
        notices: tuple[str, ...] = (),
        blocks: Blocks | None = None,
        chats: Chats | None = None,
        start_ns: int | None = None,
        slo_s: Floats | None = None,
        priority: Ints | None = None,
        client_code: Ints | None = None,
        client_names: tuple[str, ...] = (),
        ttft_s: Floats | None = None,
        latency_s: Floats | None = None,
        concurrency: int | None = None,
    ) -> Trace:
        """A trace from columns whose values are valid: sorts, shifts, hashes and copies them. Arrivals are in
        `ticks` per second, and are shifted first: milliseconds since 1970 are exact, their quotients are not.

        Raises:
            InputError: there are no requests.
        """
        if arrival_s.size == 0:
            raise InputError(source, "has no requests")
        order = np.argsort(arrival_s, kind="stable")
        late = int(np.count_nonzero(arrival_s[1:] < arrival_s[:-1]))
        if late:
            notices += (f"sorted by arrival: {number_of(late, 'request')} had an earlier time than the one before",)
        if first := float(arrival_s[order[0]]):
            notices += (f"shifted by {first / ticks:g} s, so that the first arrival is at 0 s",)
        columns = ((arrival_s[order] - first) / ticks, input_length[order], output_length[order], class_code[order])
        if late:
            blocks, chats = blocks and blocks.take(order), chats and chats.take(order)
        optional: dict[str, Any] = {"slo_s": slo_s, "priority": priority, "client_code": client_code}
        optional |= {"ttft_s": ttft_s, "latency_s": latency_s}
        made = cls(
            *columns, class_names, name, source, sha256, notices, blocks, chats, start_ns,
            client_names=client_names, concurrency=concurrency,
            **{column: values[order] for column, values in optional.items() if values is not None},
        )  # fmt: skip
        return made if sha256 else replace(made, sha256=digest_of(made))

    def __len__(self) -> int:
        return int(self.arrival_s.size)

    def __repr__(self) -> str:
        requests = number_of(len(self), "request")
        when = f", {self.span_s:g} s, {self.rate_rps:.3g} req/s" if self.span_s else ", all at one instant"
        return f"Trace({self.name!r}, {requests}{when if len(self) > 1 else ''})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the constructor, because a pickled array forgets that it is read-only.
        return Trace, tuple(getattr(self, column.name) for column in fields(self))

    @property
    def where(self) -> str:
        """What errors call it: its file by its whole name, any other by its short one."""
        return self.source if Path(self.source).name.startswith(self.name) else self.name

    @property
    def clients(self) -> list[str]:
        """The name of each request's client; "" if unknown."""
        names = [*self.client_names, ""]
        return [names[code] for code in self.client_code.tolist()]

    @property
    def span_s(self) -> float:
        """Seconds from the first arrival to the last."""
        return float(self.arrival_s[-1])

    @property
    def rate_rps(self) -> float:
        """Mean request rate in requests per second: number of gaps / span, so that requests 1 s apart have 1 req/s.

        NaN if all requests arrive at one instant. This is the rate wherever flowsim shows one.
        """
        return (len(self) - 1) / self.span_s if self.span_s else math.nan

    def scaled(self, factor: float) -> Trace:
        """The same requests at `factor` times the rate: every gap is divided by `factor`.

        Raises:
            InputError: the factor is not a finite number > 0, or so small that times exceed `LARGEST`.
        """
        if not 0 < factor < math.inf or self.span_s / factor > LARGEST:
            raise InputError("rate factor", found=factor, expected="finite and > 0, with all times <= 2**40 s")
        return self.derived(f"rate scaled by {factor:g}", arrival_s=self.arrival_s / factor)

    def head(self, n: int) -> Trace:
        """The first `n` requests, or all if there are fewer. Raises InputError unless n >= 1."""
        if not isinstance(n, int | np.integer) or n < 1:
            whole = "" if isinstance(n, int | np.integer) else "a whole number "
            raise InputError("number of requests to keep", found=n, expected=f"{whole}>= 1")
        n = min(n, len(self))
        return self.derived(f"first {n} requests" if n > 1 else "first request", np.arange(n))

    def window(self, start_s: float, end_s: float) -> Trace:
        """The requests that arrive in [start_s, end_s), shifted so that the first is at 0 s.

        Raises:
            InputError: the window is empty, or no request arrives in it.
        """
        first, last = (int(np.searchsorted(self.arrival_s, t)) for t in (start_s, end_s))
        window = f"from {start_s:g} s " + ("on" if end_s == math.inf else f"to {end_s:g} s")
        if not start_s < end_s:
            raise InputError("window", found=f"{start_s:g}:{end_s:g}", expected="FROM:TO in seconds, with FROM < TO")
        if first == last:
            expected = f"a window within 0 to {self.span_s:g} s"
            raise InputError(self.where, f"no request arrives {window}", expected=expected)
        return self.derived(f"window {window}", np.arange(first, last))

    def sample(self, n: int, seed: int = 0) -> Trace:
        """`n` requests drawn without replacement, each at its own time (shifted so that the first is at 0 s).

        Raises:
            InputError: `n` is not from 1 to the number of requests.
        """
        if not 1 <= n <= len(self):
            raise InputError(
                "number of requests to draw", found=n, expected=f"from 1 to {len(self)}, as in {self.where}"
            )
        rows = np.sort(generator(seed).permutation(len(self))[:n])
        return self.derived(f"{n} of {len(self)} requests drawn at random (seed {seed})", rows)

    def derived(self, what: str, rows: Ints | None = None, **changed: Any) -> Trace:
        """This trace with some columns changed, or only these rows of it, shifted to start at 0 s.

        For functions that make a trace from another: they ensure that the columns are valid. A notice says `what`
        was done.
        """
        if rows is not None:
            kept = {name: getattr(self, name)[rows] for name in ROW_COLUMNS}
            arrival_s = self.arrival_s[rows]
            changed = {**kept, "arrival_s": arrival_s - arrival_s[0], **changed}
            changed.setdefault("blocks", self.blocks and self.blocks.take(rows))
            changed.setdefault("chats", self.chats and self.chats.take(rows))
            if self.start_ns is not None:
                changed["start_ns"] = self.start_ns + round(float(arrival_s[0]) * 1e9)
        notices = (*self.notices, f"{what} (of the trace with SHA-256 {self.sha256[:12]})")
        made = replace(self, notices=notices, **changed)
        return replace(made, sha256=digest_of(made))

    def has(self, column: str) -> bool:
        """Whether any request has a value in an optional column, one of ABSENT."""
        values, absent = getattr(self, column), ABSENT[column]
        return not bool(np.isnan(values).all() if absent != absent else (values == absent).all())

    def describe(self) -> dict[str, Any]:
        """What the trace holds, as plain values: seconds, requests per second, tokens, and requests per class."""
        return facts_of(self)

    def _repr_html_(self) -> str:
        return page_of(self)

    def to_frame(self) -> pd.DataFrame:
        """One row per request: arrival_s, input_length, output_length and class (categorical).

        The columns slo_s, ttft_s, latency_s, priority and client (categorical) follow where the trace has them.
        """
        return frame_of(self)
