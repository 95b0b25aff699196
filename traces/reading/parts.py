"""Some rows of a trace file, converted, and what the fields of one row may not say together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct, field
from msgspec.structs import asdict
from numpy.typing import NDArray

from flowsim.traces.columns import Bools, Floats, Ints
from flowsim.traces.formats import Format


class Codes(Struct, frozen=True):
    """The numbers of the names seen so far; readers add to them."""

    classes: dict[str, int] = field(default_factory=dict)
    clients: dict[str, int] = field(default_factory=dict)


class TracePart(Struct, frozen=True):
    """Some rows of a trace, converted and checked: one array of shape [n] per column."""

    arrival: NDArray[Any]
    """Seconds, milliseconds, or (int64) nanoseconds since 1970, according to the clock of the format."""
    input_length: Ints
    """Prompt lengths; 0 only where rows of failed requests are let through."""
    output_length: Ints
    class_code: Ints
    block_ids: Ints
    """The prefix blocks of all rows, concatenated."""
    block_counts: Ints
    """Number of prefix blocks of each row."""
    block_tokens: Ints
    """Tokens per prefix block; 0 = unknown."""
    chats: Ints
    """chat_id, parent_chat_id and turn, shape [n, 3]; -1 = unknown."""
    slo_s: Floats
    """TTFT SLOs; NaN = none."""
    priority: Ints
    client_code: Ints
    total_length: Ints
    """Input and output tokens together, as the file has them; -1 = unknown."""
    ttft: Floats
    """What a real server took to the first token, in the unit of the format; NaN = unknown."""
    latency: Floats
    """The same to the last token."""

    def of_rows(self, rows: Bools) -> TracePart:
        """The rows that a mask selects."""
        columns = asdict(self)
        ids = columns.pop("block_ids")[np.repeat(rows, self.block_counts)]
        return TracePart(block_ids=ids, **{name: column[rows] for name, column in columns.items()})

    def failed(self, silent: bool, measured: bool) -> Bools:
        """Which rows are of requests that failed on the real server.

        Args:
            silent: whether no output says so.
            measured: whether a lacking TTFT does.
        """
        no_input, no_output, no_ttft = self.input_length == 0, self.output_length == 0, np.isnan(self.ttft)
        failed: Bools = no_input | (silent & no_output) | (measured & no_ttft)
        return failed


class Contradiction(NamedTuple):
    """What is wrong with a row whose fields contradict each other."""

    row: int
    field: str
    problem: str
    expected: str


def contradiction(part: TracePart, kind: Format) -> Contradiction | None:
    """The first row of these whose fields contradict each other; None if there is none.

    A request of n tokens has n / size prefix blocks, the last full (n rounded down) or partly filled (up), or none
    if they are unknown; a total is the sum of input and output; a request does not continue itself, and the first
    turn of a conversation continues none.
    """
    found = [Contradiction(int(wrong.argmax()), *said) for wrong, said in _checks(part, kind) if wrong.any()]
    if not found:
        return None
    row, name, problem, expected = min(found, key=lambda one: one.row)
    return Contradiction(row, name, problem.format(*_values(part, row)), expected.format(*_values(part, row)))


def _checks(part: TracePart, kind: Format) -> Iterator[tuple[Bools, tuple[str, str, str]]]:
    """Masks of wrong rows; and the field, the problem and what was expected, where {0}, ... are `_values`."""
    least, most = _block_range(part)
    counts, known = part.block_counts, (part.block_counts > 0) & (part.block_tokens > 0) & (part.input_length > 0)
    blocks = known & ((counts < least) | (counts > most))
    yield blocks, (str(kind.hash_ids), "has {0} blocks of {1} tokens for a prompt of {2} tokens", "{3}")
    total = part.input_length + part.output_length
    wrong = (part.total_length >= 0) & (part.total_length != total)
    yield wrong, (str(kind.total_length), "is {4}", "{5}, the sum of input and output")
    chat_id, parent, turn = part.chats.T
    _, parent_field, turn_field = kind.chats or ("", "", "")
    itself = (chat_id >= 0) & (chat_id == parent)
    yield itself, (parent_field, "is {6}, the request's own id", "another request's, or -1")
    first = (turn == 1) & (parent >= 0)
    yield first, (turn_field, "is 1 although the request continues {7}", ">= 2, or no parent")


def _block_range(part: TracePart) -> tuple[Ints, Ints]:
    """The least and the largest number of blocks of each row's prompt."""
    size = np.maximum(part.block_tokens, 1)
    return part.input_length // size, -(-part.input_length // size)


def _values(part: TracePart, row: int) -> list[object]:
    least, most = (int(column[row]) for column in _block_range(part))
    inputs, outputs = int(part.input_length[row]), int(part.output_length[row])
    return [
        int(part.block_counts[row]),
        int(part.block_tokens[row]),
        inputs,
        f"{least} or {most}" if 0 < least < most else f"{most}",
        int(part.total_length[row]),
        inputs + outputs,
        int(part.chats[row, 0]),
        int(part.chats[row, 1]),
    ]
