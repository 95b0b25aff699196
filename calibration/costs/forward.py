"""A forward's shape: when the device ends its operators, whatever attention takes.

Only attention depends on contexts. So all else is computed once for each number of tokens, and the timeline of a
forward follows from that and its attention.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache, reduce
from itertools import accumulate

from flowsim.core.operators import ATTENTION, segments
from flowsim.core.pass_timeline import Forward, Launch, Run


@cache
def layer_pieces(cut: str) -> tuple[range, ...]:
    """The stretches of LAYER_OPERATORS (index ranges) that end at a check or at attention, which itself is in none."""
    found: list[range] = []
    for part in segments(cut):
        split = ATTENTION in part
        found += [range(part.start, ATTENTION), range(ATTENTION + 1, part.stop)] if split else [part]
    return tuple(found)


class Shape:
    """All of a forward's timeline that depends neither on its attention nor on its head, which are added last.

    Args:
        tokens: tokens it computes.
        lead: what runs before the layers.
        layer: the operators of one layer (host_s, device_s, calls) in the `layer_pieces` of the cut.
        layers: number of layers.
        check_s: what a check takes.
        cut: where it is checked.
    """

    def __init__(
        self,
        tokens: int,
        lead: Iterable[Launch],
        layer: Sequence[Iterable[tuple[float, float, int]]],
        layers: int,
        check_s: float,
        cut: str,
    ) -> None:
        self._tokens, self._layers, self._check_s = tokens, layers, check_s
        self._lead, runs = Run.of(lead), [Run.of(piece) for piece in layer]
        at = self._at = [piece.stop for piece in layer_pieces(cut)].index(ATTENTION)
        self._front, self._back = reduce(Run.then, runs[: at + 1]), reduce(Run.then, runs[at + 1 :])
        self._checked = cut not in ("none", "chunk")
        self._before, self._after = runs[at : at + 2]
        self._ends_s = [run.end_s + check_s for run in runs[:at] + runs[at + 1 :]]
        self._first_s = self._lead.then(runs[0]).end_s + check_s

    def forward(self, attention: Launch, head: Launch) -> Forward:
        """The forward in which this is the attention of each layer."""
        attending, last = Run.of((attention,)), Run.of((head,))
        layer = self._front.then(attending).then(self._back)
        whole = self._lead.then(layer.times(self._layers)).then(last)
        unchecked_s = whole.end_s + self._check_s
        if not self._checked:
            return Forward(self._tokens, (), 0.0, self._layers, unchecked_s, unchecked_s, whole.device_s)
        segment = self._before.then(attending).then(self._after)
        ends_s, first_s = self._ends_s.copy(), self._first_s
        ends_s[self._at] = segment.end_s + self._check_s
        if not self._at:
            first_s = self._lead.then(segment).end_s + self._check_s
        cuts_s, lead_s = tuple(accumulate(ends_s)), first_s - ends_s[0]
        duration_s = lead_s + self._layers * cuts_s[-1] + last.end_s + self._check_s
        return Forward(self._tokens, cuts_s, lead_s, self._layers, duration_s, unchecked_s, whole.device_s)
