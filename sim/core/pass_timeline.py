"""A forward pass and its timeline: slices of prompts, the operators they run, and where they can be cut.

A pass is executed as one or more *forwards* (chunks of at most `max_batched_tokens`), each of them a sequence
embed, `layers` x LAYER_OPERATORS, head. Two clocks run: the host launches operators one after another, and the
device executes one when it has both been launched and its predecessor has ended. A check is a point where the
host waits for the device, looks whether it was signalled, and only then launches on: it empties the launch-ahead.

All layers are alike, so a forward's timeline is one layer's cumulative times repeated, and every cut is found by
arithmetic instead of by stepping through operators.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct

GRAPH_STEP = 64
"""Tokens from one recorded forward to the next larger (`flowsim.calibration.gpu.graphs`)."""


class Slice(Struct, frozen=True, gc=False):
    """A stretch of one prompt in a forward: `tokens` new ones on top of `context` computed before."""

    tokens: int
    context: int


def graph_size(tokens: int) -> int:
    """Tokens of the recording that a forward of `tokens` runs as: the next multiple of GRAPH_STEP."""
    return -(-tokens // GRAPH_STEP) * GRAPH_STEP


class Launch(NamedTuple):
    """One operator on the two clocks: `host_s` to launch it, `device_s` to execute it.

    It is launched by `calls` of the framework, one after another, that share both times evenly; so the device may begin
    on it before the host is done.
    """

    host_s: float
    device_s: float
    calls: int = 1


class Run(Struct, frozen=True, gc=False):
    """Operators one after another on the two clocks.

    Attributes:
        host_s: to launch them all.
        device_s: to execute them all.
        end_s: when the device ends the last, seconds after the host began on the first, device idle. If it was busy
            for `x` seconds more, it ends them at the larger of `end_s` and `x + device_s`.
    """

    host_s: float
    device_s: float
    end_s: float

    @classmethod
    def of(cls, launches: Iterable[tuple[float, float, int]]) -> Run:
        """These operators: each a `Launch`, or the plain tuple of its fields, which is made faster.

        Call i of k is through after i shares, and k - i more follow on the device: the end is linear in i, so only
        the first and the last call can decide it.
        """
        launched_s = device_s = end_s = 0.0
        for host_s, own_s, calls in launches:
            begun_s, launched_s = launched_s + host_s / calls, launched_s + host_s
            end_s = max(end_s + own_s, begun_s + own_s, launched_s + own_s / calls)
            device_s += own_s
        return cls(launched_s, device_s, end_s)

    def then(self, other: Run) -> Run:
        """These operators, followed by `other`."""
        end_s = max(self.end_s + other.device_s, self.host_s + other.end_s)
        return Run(self.host_s + other.host_s, self.device_s + other.device_s, end_s)

    def times(self, n: int) -> Run:
        """These operators `n` times, at least once.

        Up to the last one in which the device waits for the host each takes `host_s`, after that `device_s`.
        """
        end_s = self.end_s + (n - 1) * max(self.host_s, self.device_s)
        return Run(n * self.host_s, n * self.device_s, end_s)


def split(slices: Sequence[Slice], max_batched_tokens: int) -> Iterator[list[Slice]]:
    """Cut a pass into forwards of at most `max_batched_tokens` tokens, filled in the order of its slices."""
    forward: list[Slice] = []
    room = max_batched_tokens
    for slice_ in slices:
        tokens, context = slice_.tokens, slice_.context
        while tokens:
            taken = min(tokens, room)
            forward.append(Slice(taken, context))
            tokens, context, room = tokens - taken, context + taken, room - taken
            if not room:
                yield forward
                forward, room = [], max_batched_tokens
    if forward:
        yield forward


class Forward:
    """The timeline of one forward, seconds from its start.

    Args:
        tokens: tokens it computes.
        layer_cuts_s: where each layer after the first can be cut, seconds after the layer's start, checks included;
            the last is the layer's length. Empty if the forward has no cut inside its layers.
        lead_s: how much longer the first layer takes (prepare, embed, first launches).
        layers: number of layers.
        duration_s: until the forward has ended and the host knows it.
        unchecked_s: the duration it would have with no check inside.
        device_s: for how much of it the device is busy.
    """

    __slots__ = ("cuts", "device_s", "duration_s", "layer_cuts_s", "layers", "lead_s", "tokens", "unchecked_s")

    def __init__(
        self,
        tokens: int,
        layer_cuts_s: Sequence[float],
        lead_s: float,
        layers: int,
        duration_s: float,
        unchecked_s: float,
        device_s: float = 0.0,
    ) -> None:
        self.tokens = tokens
        self.layer_cuts_s = layer_cuts_s
        self.lead_s = lead_s
        self.layers = layers
        self.duration_s = duration_s
        self.unchecked_s = unchecked_s
        self.device_s = device_s
        self.cuts = len(layer_cuts_s) * layers

    def cut_s(self, index: int) -> float:
        """Time of the cut number `index` (0 ... cuts - 1)."""
        layer, place = divmod(index, len(self.layer_cuts_s))
        return self.lead_s + layer * self.layer_cuts_s[-1] + self.layer_cuts_s[place]

    def first_cut(self, elapsed_s: float) -> int:
        """Number of the first cut at or after `elapsed_s`; `cuts` if none is left."""
        if not self.cuts:
            return 0
        after_lead_s = elapsed_s - self.lead_s
        layer_s = self.layer_cuts_s[-1]
        if not layer_s:
            return 0 if after_lead_s <= 0 else self.cuts
        layer = min(max(int(after_lead_s // layer_s), 0), self.layers)
        if layer and after_lead_s == layer * layer_s:
            return layer * len(self.layer_cuts_s) - 1  # exactly the end of a layer
        if layer == self.layers:
            return self.cuts
        return layer * len(self.layer_cuts_s) + bisect_left(self.layer_cuts_s, after_lead_s - layer * layer_s)


class Timeline:
    """The timeline of a whole pass: its forwards one after another, and every cut on the way.

    Cuts are numbered through the pass: those inside forward k, then its end. A pass whose cut is "none" has no
    cut, one whose cut is "chunk" has only the ends of its forwards. The end of the pass is its completion, not a
    cut.
    """

    __slots__ = ("_ends_s", "_forwards", "_stride", "cuttable", "device_s", "duration_s", "overhead_s", "recorded")

    def __init__(self, forwards: Sequence[Forward], cut: str, recorded: int = 0) -> None:
        self._forwards = forwards
        self.recorded = recorded
        """Tokens of the recording that its only forward runs as; 0 if that is launched, or if there are several."""
        self.cuttable = cut != "none"
        self._stride = forwards[0].cuts + 1
        if len(forwards) == 1:
            self.duration_s = forwards[0].duration_s
            self._ends_s = [self.duration_s]
            self.overhead_s = self.duration_s - forwards[0].unchecked_s
            self.device_s = forwards[0].device_s
            return
        end, self._ends_s = 0.0, []
        for forward in forwards:
            end += forward.duration_s
            self._ends_s.append(end)
        self.duration_s = end
        self.overhead_s = end - sum(forward.unchecked_s for forward in forwards)
        self.device_s = sum(forward.device_s for forward in forwards)

    def next_cut(self, elapsed_s: float, passed: int = -1, further: int = 0) -> tuple[float, int] | None:
        """The next place to stop: (its time, its number); None if the pass completes first.

        Args:
            elapsed_s: how long the pass has run; a cut exactly there still counts.
            passed: number of the cut at which the pass was last stopped; only later ones count.
            further: how many more segments to run before stopping (1 under tensor parallelism).
        """
        if not self.cuttable:
            return None
        chunk = min(bisect_left(self._ends_s, elapsed_s), len(self._ends_s) - 1)
        start_s = self._ends_s[chunk - 1] if chunk else 0.0
        number = chunk * self._stride + self._forwards[chunk].first_cut(elapsed_s - start_s)
        number = max(number, passed + 1) + further
        return None if number >= len(self._forwards) * self._stride - 1 else (self.cut_s(number), number)

    def cut_s(self, number: int) -> float:
        """Time of the cut with this number, seconds from the start of the pass."""
        chunk, place = divmod(number, self._stride)
        if place == self._stride - 1:
            return self._ends_s[chunk]
        return (self._ends_s[chunk - 1] if chunk else 0.0) + self._forwards[chunk].cut_s(place)

    def progress(self, elapsed_s: float) -> tuple[int, float]:
        """After `elapsed_s`: tokens of the completed forwards, and seconds since the last of them ended."""
        if elapsed_s < self._ends_s[0]:
            return 0, max(elapsed_s, 0.0)
        tokens, start_s = 0, 0.0
        for forward, end_s in zip(self._forwards, self._ends_s, strict=True):
            if elapsed_s < end_s:
                break
            tokens, start_s = tokens + forward.tokens, end_s
        return tokens, elapsed_s - start_s
