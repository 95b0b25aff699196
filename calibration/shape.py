"""A forward's shape: when the device ends its operators, whatever attention takes.

Attention alone depends on contexts, and takes long to work out. So all else is worked out once for each number of
tokens, and the timeline of a forward follows from that and its attention time.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from flowsim.forward import ATTENTION, Forward, Launch, after, device_end, segments


class Shape:
    """All of a forward's timeline that does not depend on its attention time nor on its head: those come last.

    With attention time a, the device ends a run of operators at the largest of a few terms c + k * a, one for each
    bubble that can decide it. Over L equal layers a bubble counts most in the first or in the last one, so the layers
    of an unchecked forward end at the maximum of such terms too.
    """

    def __init__(
        self, tokens: int, lead: list[Launch], layer: list[Launch], layers: int, check_s: float, cut: str
    ) -> None:
        self._tokens, self._layers, self._check_s = tokens, layers, check_s
        self._terms, self._launched_s = _layers_end(lead, layer, layers)
        self._device_s = sum([launch.device_s for launch in lead]) + layers * sum([launch.device_s for launch in layer])
        self._fixed: list[float] = []
        if cut in ("none", "chunk"):
            return
        for index, part in enumerate(segments(cut)):
            launches = layer[part.start : part.stop]
            self._fixed.append(device_end(launches) + check_s)
            if ATTENTION in part:
                self._at, self._around = index, _around(launches, ATTENTION - part.start)
        first = lead + layer[: segments(cut)[0].stop]
        self._first_s = device_end(first) + check_s
        self._first_around = _around(first, len(lead) + ATTENTION) if self._at == 0 else None

    def forward(self, attention_s: float, head: Launch) -> Forward:
        """The forward in which attention takes so long in each layer."""
        layers_s = _largest(self._terms, attention_s)
        device_s = self._device_s + self._layers * attention_s + head.device_s
        unchecked_s = after(head, self._launched_s, layers_s)[1] + self._check_s
        if not self._fixed:
            return Forward(self._tokens, (), 0.0, self._layers, unchecked_s, unchecked_s, device_s)
        parts = self._fixed.copy()
        parts[self._at] = _largest(self._around, attention_s) + self._check_s
        first_s = self._first_s
        if self._first_around is not None:
            first_s = _largest(self._first_around, attention_s) + self._check_s
        cuts_s = tuple(accumulate(parts))
        lead_s = first_s - parts[0]
        duration_s = lead_s + self._layers * cuts_s[-1] + device_end([head]) + self._check_s
        return Forward(self._tokens, cuts_s, lead_s, self._layers, duration_s, unchecked_s, device_s)


Terms = list[tuple[float, float]]
"""Pairs (c, k), of which the largest c + k * a counts; seconds, and a is the attention time of a layer."""


def _largest(terms: Terms, attention_s: float) -> float:
    return max([const + times * attention_s for const, times in terms])


def _around(launches: Sequence[Launch], attention: int) -> Terms:
    """When `launches` end, in terms of the time of attention, which stands at this place."""
    rest_s = sum([launch.device_s for launch in launches])
    launched_s, largest = 0.0, {1.0: float("-inf"), 0.0: float("-inf")}
    for place, (host_s, device_s, calls) in enumerate(launches):
        begun_s, launched_s = launched_s + host_s / calls, launched_s + host_s
        whole = 1.0 if place <= attention else 0.0
        last = 1.0 / calls if place == attention else whole
        largest[whole] = max(largest[whole], begun_s + rest_s)
        rest_s -= device_s
        largest[last] = max(largest.get(last, float("-inf")), launched_s + rest_s + device_s / calls)
    return [(const, times) for times, const in largest.items()]


def _layers_end(lead: list[Launch], layer: list[Launch], layers: int) -> tuple[Terms, float]:
    """When the device ends the layers of an unchecked forward, and when the host has launched them; seconds."""
    device_s = sum([launch.device_s for launch in layer])
    lead_host_s = sum([launch.host_s for launch in lead])
    host_s = sum([launch.host_s for launch in layer])
    terms: Terms = [(device_end(lead) + layers * device_s, layers)]
    for const, times in _around(layer, ATTENTION):
        terms.append((lead_host_s + const + (layers - 1) * device_s, times + layers - 1))
        terms.append((lead_host_s + const + (layers - 1) * host_s, times))
    return terms, lead_host_s + layers * host_s
