"""The trace: an immutable sequence of requests in columns, from a file or built in memory."""

from __future__ import annotations

import hashlib
import html
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowsim.errors import InputError
from flowsim.traces.columns import (
    LARGEST,
    LENGTH,
    LENGTH_OR_0,
    SECONDS,
    Blocks,
    Bools,
    Chats,
    Floats,
    Ints,
    bad_lengths,
    bad_lengths_or_0,
    bad_seconds,
    encode_classes,
)
from flowsim.traces.seeds import generator

if TYPE_CHECKING:
    import pandas as pd


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

    def __post_init__(self) -> None:
        for column in self._arrays():
            column.flags.writeable = False

    def _arrays(self) -> Iterator[NDArray[Any]]:
        yield from (self.arrival_s, self.input_length, self.output_length, self.class_code)
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
            name: a short name for tables and plots.
            source: where the requests come from.

        Raises:
            InputError: names the column and the row of the first bad value, or the column of the wrong length.
        """
        arrival = _column("arrival_s", arrival_s, bad_seconds, SECONDS)
        inputs = _column("input_length", input_length, bad_lengths, LENGTH).astype(np.int64)
        outputs = np.zeros_like(inputs)
        if output_length is not None:
            outputs = _column("output_length", output_length, bad_lengths_or_0, LENGTH_OR_0).astype(np.int64)
        codes: dict[str, int] = {}
        coded = np.full(inputs.size, -1) if classes is None else encode_classes(classes, codes)
        for column, array in {"input_length": inputs, "output_length": outputs, "classes": coded}.items():
            if array.size != arrival.size:
                raise InputError(column, f"has {array.size} values", expected=f"{arrival.size}, as in arrival_s")
        return cls.from_columns(arrival, inputs, outputs, coded, tuple(codes), name=name, source=source)

    @classmethod
    def from_columns(
        cls,
        arrival_s: Floats,
        input_length: Ints,
        output_length: Ints,
        class_code: Ints,
        class_names: tuple[str, ...],
        *,
        name: str,
        source: str,
        sha256: str = "",
        notices: tuple[str, ...] = (),
        blocks: Blocks | None = None,
        chats: Chats | None = None,
        start_ns: int | None = None,
    ) -> Trace:
        """A trace from columns whose values are valid: sorts, shifts, hashes and copies them.

        Raises:
            InputError: there are no requests.
        """
        if arrival_s.size == 0:
            raise InputError(source, "has no requests")
        order = np.argsort(arrival_s, kind="stable")
        late = int(np.count_nonzero(arrival_s[1:] < arrival_s[:-1]))
        if late:
            rows = f"{late} request{'s' * (late > 1)}"
            notices += (f"sorted by arrival: {rows} had an earlier time than the one before",)
        first = float(arrival_s[order[0]])
        if first:
            notices += (f"shifted by {first:g} s, so that the first arrival is at 0 s",)
        columns = (arrival_s[order] - first, input_length[order], output_length[order], class_code[order])
        if late:
            blocks, chats = blocks and blocks.take(order), chats and chats.take(order)
        made = cls(*columns, class_names, name, source, sha256, notices, blocks, chats, start_ns)
        return made if sha256 else replace(made, sha256=made._digest())

    def __len__(self) -> int:
        return int(self.arrival_s.size)

    def __repr__(self) -> str:
        return f"Trace({self.name!r}, {len(self)} requests, {self.span_s:g} s, {self.rate_rps:.3g} req/s)"

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the constructor, because a pickled array forgets that it is read-only.
        return Trace, tuple(getattr(self, field.name) for field in fields(self))

    @property
    def span_s(self) -> float:
        """Seconds from the first arrival to the last."""
        return float(self.arrival_s[-1])

    @property
    def rate_rps(self) -> float:
        """Mean request rate in requests per second: number of gaps / span. NaN if all requests arrive at once."""
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
        if n < 1:
            raise InputError("number of requests to keep", found=n, expected=">= 1")
        return self.derived(f"first {min(n, len(self))} requests", np.arange(min(n, len(self))))

    def window(self, start_s: float, end_s: float) -> Trace:
        """The requests that arrive in [start_s, end_s), shifted so that the first is at 0 s.

        Raises:
            InputError: no request arrives in the window.
        """
        first, last = (int(np.searchsorted(self.arrival_s, t)) for t in (start_s, end_s))
        window = f"from {start_s:g} s " + ("on" if end_s == math.inf else f"to {end_s:g} s")
        if not (start_s < end_s and first < last):
            expected = f"a window within 0 to {self.span_s:g} s"
            raise InputError(self.name, f"no request arrives {window}", expected=expected)
        return self.derived(f"window {window}", np.arange(first, last))

    def sample(self, n: int, seed: int = 0) -> Trace:
        """`n` requests drawn without replacement, each at its own time (shifted so that the first is at 0 s).

        Raises:
            InputError: `n` is not from 1 to the number of requests.
        """
        if not 1 <= n <= len(self):
            raise InputError(
                "number of requests to draw", found=n, expected=f"from 1 to {len(self)}, as in {self.name}"
            )
        rows = np.sort(generator(seed).permutation(len(self))[:n])
        return self.derived(f"{n} of {len(self)} requests drawn at random (seed {seed})", rows)

    def derived(self, what: str, rows: Ints | None = None, **changed: Any) -> Trace:
        """This trace with some columns changed, or only these rows of it, shifted to start at 0 s.

        For functions that make a trace from another: they ensure that the columns are valid. A notice says `what`
        was done.
        """
        if rows is not None:
            kept = {name: getattr(self, name)[rows] for name in ("input_length", "output_length", "class_code")}
            arrival_s = self.arrival_s[rows]
            changed = {**kept, "arrival_s": arrival_s - arrival_s[0], **changed}
            changed.setdefault("blocks", self.blocks and self.blocks.take(rows))
            changed.setdefault("chats", self.chats and self.chats.take(rows))
            if self.start_ns is not None:
                changed["start_ns"] = self.start_ns + round(float(arrival_s[0]) * 1e9)
        notices = (*self.notices, f"{what} (of the trace with SHA-256 {self.sha256[:12]})")
        made = replace(self, notices=notices, **changed)
        return replace(made, sha256=made._digest())

    def _digest(self) -> str:
        digest = hashlib.sha256(json.dumps(self.class_names).encode())
        for column in self._arrays():
            digest.update(np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("<")).data)
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """What the trace holds, as plain values: seconds, requests per second, tokens, and requests per class."""
        p50, p99 = np.percentile(self.input_length, (50, 99))
        counts = np.bincount(self.class_code + 1, minlength=len(self.class_names) + 1).tolist()
        return {
            "name": self.name,
            "source": self.source,
            "sha256": self.sha256,
            "requests": len(self),
            "span_s": self.span_s,
            "rate_rps": self.rate_rps,
            "input_mean": float(self.input_length.mean()),
            "input_p50": float(p50),
            "input_p99": float(p99),
            "input_max": int(self.input_length.max()),
            "classes": dict(zip(self.class_names, counts[1:], strict=True)),
            "without_class": counts[0],
            "notices": list(self.notices),
        }

    def _repr_html_(self) -> str:
        facts = {key: value for key, value in self.describe().items() if key != "sha256"}
        facts["classes"] = ", ".join(f"{name} {n}" for name, n in facts["classes"].items()) or "none"
        facts["notices"] = "; ".join(facts["notices"]) or "none"
        cells = ((key, f"{v:,.6g}" if isinstance(v, float) else str(v)) for key, v in facts.items())
        rows = (f"<tr><th>{key}</th><td>{html.escape(value)}</td></tr>" for key, value in cells)
        return f"<table>{''.join(rows)}</table>"

    def to_frame(self) -> pd.DataFrame:
        """One row per request: arrival_s, input_length, output_length and class (categorical)."""
        import pandas as pd

        classes = pd.Categorical.from_codes(self.class_code, categories=pd.Index(self.class_names))
        lengths = {"input_length": self.input_length, "output_length": self.output_length}
        return pd.DataFrame({"arrival_s": self.arrival_s, **lengths, "class": classes})


def _column(name: str, values: ArrayLike, bad: Callable[[Floats], Bools], expected: str) -> Floats:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        found = f"is an array of {array.dtype} of shape {list(array.shape)}"
        raise InputError(name, found, expected="one number per request")
    numbers = array.astype(np.float64)
    wrong = bad(numbers)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(f"{name}[{row}]", found=array[row].item(), expected=expected)
    return numbers
