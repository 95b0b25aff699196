"""The cost model: what any pass costs, from an operator table or from functions written by hand."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from html import escape
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowsim.calibration.attention import kernel_choice
from flowsim.calibration.models import ModelSpec
from flowsim.calibration.table import OperatorTable
from flowsim.forward import (
    ATTENTION,
    LAYER_OPERATORS,
    Forward,
    Launch,
    Slice,
    Timeline,
    device_end,
    segments,
    split,
)

Cost = Callable[[int], float]


KV_MEMORY_SHARE = 0.9
KNOWN = 1 << 16
"""How many of each kind of answer a cost model remembers."""


def free(size: int) -> float:
    """A cost of nothing."""
    return 0.0


class CostModel:
    """Device and host time of every operator, and from them the timeline of any pass.

    Linear operators cost a function of the pass's tokens; attention the sum over slices of a function of (tokens,
    context); the head a function of the number of slices (each samples one token). Every forward begins with
    `prepare` on the host and ends with a check, because its last token has to be read back.

    Args:
        name: what it was fitted to, as in "h200/llama3-8b/tp1".
        layers: number of layers.
        device: device seconds by operator of LAYER_OPERATORS (but attention), "embed" and "head"; absent = nothing.
        attention: device seconds of (tokens, context), one slice, one layer.
        host: launch seconds by operator (but attention), and "prepare". From a table: the median over all sizes, on
            which it does not depend; what differs between rows is the host's own unrest.
        attention_launch: launch seconds of (tokens, context), one slice.
        check_s: what one check adds on the host: the synchronise returns, the flag is read.
        acknowledge_s: from the check that sees the signal until the scheduler knows.
        resume_s: from the scheduler's word to the first launch of a paused pass.
        decision: seconds of one scheduling decision, of the number of requests it looks at.
        tp: tensor-parallel degree; above 1 a signalled pass runs one more whole segment (flowprefill.md).
        kv_capacity_tokens: tokens that fit in the KV cache of one instance.
        provenance: where the costs come from: hashes, error, machine.
    """

    def __init__(
        self,
        name: str,
        layers: int,
        device: Mapping[str, Cost],
        attention: Callable[[int, int], float],
        host: Mapping[str, Cost] | None = None,
        *,
        attention_launch: Callable[[int, int], float] = lambda tokens, context: 0.0,
        check_s: float = 0.0,
        acknowledge_s: float = 0.0,
        resume_s: float = 0.0,
        decision: Cost = free,
        tp: int = 1,
        kv_capacity_tokens: int = 1 << 40,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.layers = layers
        self.device = device
        self.attention = attention
        self.host = host or {}
        self.attention_launch = attention_launch
        self.check_s = check_s
        self.acknowledge_s = acknowledge_s
        self.resume_s = resume_s
        self.decision = decision
        self.tp = tp
        self.kv_capacity_tokens = kv_capacity_tokens
        self.provenance = dict(provenance or {})
        self._attend = lru_cache(KNOWN)(lambda slice_: Launch(attention_launch(*slice_), attention(*slice_)))
        self._shape = lru_cache(KNOWN)(self._new_shape)
        self._forward_of_one = lru_cache(KNOWN)(self._new_forward)
        self._timeline_of_one = lru_cache(KNOWN)(self._new_timeline)

    @classmethod
    def fit(cls, table: OperatorTable) -> CostModel:
        """The cost model of an operator table: monotone curves through its rows, and its error on its passes."""
        about = table.provenance
        spec = ModelSpec(**about["model_spec"])
        tp = int(about["tp"])
        linear = [name for name in (*LAYER_OPERATORS, "embed", "head") if name != "attention"]
        rows = {name: table.curve(name) for name in (*linear, "attention")}
        host: dict[str, Cost] = {name: _constant(float(np.median(rows[name].host_s))) for name in linear}
        host["prepare"] = _host_curve(table, "prepare")
        model = cls(
            name=f"{about['gpu']}/{about['model']}/tp{tp}",
            layers=spec.layers,
            device={name: Curve(rows[name].tokens, rows[name].device_s) for name in linear},
            attention=AttentionCurve(rows["attention"].tokens, rows["attention"].context, rows["attention"].device_s),
            host=host,
            attention_launch=_attention_launch(table),
            check_s=_host_curve(table, "check")(0),
            acknowledge_s=_host_curve(table, "acknowledge")(0),
            resume_s=_host_curve(table, "resume")(0),
            decision=_host_curve(table, "decision"),
            tp=tp,
            kv_capacity_tokens=kv_capacity(spec, int(about["memory_bytes"]), tp),
        )
        model.provenance = {"sha256": table.digest(), "error": pass_errors(model, table), **about}
        return model

    def timeline(self, slices: Sequence[Slice], cut: str, chunk_tokens: int) -> Timeline:
        """The timeline of a pass over these slices, in forwards of at most `chunk_tokens`, checked at `cut`."""
        if len(slices) == 1:
            return self._timeline_of_one(tuple(slices), cut, chunk_tokens)
        return self._new_timeline(slices, cut, chunk_tokens)

    def solo_s(self, tokens: int, context: int = 0, cut: str = "none", chunk_tokens: int = 8192) -> float:
        """Seconds that one prompt of `tokens` takes alone, on top of `context`."""
        return self.timeline((Slice(tokens, context),), cut, chunk_tokens).duration_s

    def forward(self, slices: Sequence[Slice], cut: str) -> Forward:
        """The timeline of one forward over these slices, checked at `cut`."""
        return self._forward_of_one(tuple(slices), cut) if len(slices) == 1 else self._new_forward(slices, cut)

    def launches(self, slices: Sequence[Slice]) -> tuple[list[Launch], list[Launch], list[Launch]]:
        """One forward's operators on the two clocks: before the layers, of one layer, after the layers."""
        tokens = sum([slice_.tokens for slice_ in slices])
        layer = [self._launch(name, tokens) for name in LAYER_OPERATORS]
        layer[ATTENTION] = self._attend_all(slices)
        return self._lead(tokens), layer, [self._launch("head", len(slices))]

    def __repr__(self) -> str:
        """Name and one figure."""
        return f"CostModel({self.name}: 2048 tokens alone {self.solo_s(2048) * 1e3:.1f} ms)"

    def _repr_html_(self) -> str:
        sizes = (128, 512, 2048, 8192, 32768)
        rows = [("tokens of a prompt alone", *(f"{size:,}" for size in sizes))]
        for cut in ("none", "layer", "operator"):
            name = "unchecked" if cut == "none" else f"checked at every {cut}"
            rows.append((name, *(f"{self.solo_s(size, cut=cut) * 1e3:,.1f} ms" for size in sizes)))
        cells = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        error = self.provenance.get("error", {}).get("whole prompt, from 1024 tokens")
        note = f"off measured prefills from 1024 tokens by {error['median']:.1%} (median)" if error else "error not known"
        return f"<div><b>{escape(self.name)}</b>, {note}<table>{cells}</table></div>"

    def _new_timeline(self, slices: Sequence[Slice], cut: str, chunk_tokens: int) -> Timeline:
        if sum([slice_.tokens for slice_ in slices]) <= chunk_tokens:
            return Timeline((self.forward(slices, cut),), cut)
        return Timeline([self.forward(part, cut) for part in split(slices, chunk_tokens)], cut)

    def _new_forward(self, slices: Sequence[Slice], cut: str) -> Forward:
        attention = self._attend_all(slices)
        tokens = sum([slice_.tokens for slice_ in slices])
        shape = self._shape(tokens, attention.host_s, cut)
        return shape.forward(attention.device_s, self._launch("head", len(slices)))

    def _new_shape(self, tokens: int, attention_host_s: float, cut: str) -> _Shape:
        layer = [self._launch(name, tokens) for name in LAYER_OPERATORS]
        layer[ATTENTION] = Launch(attention_host_s, 0.0)
        return _Shape(tokens, self._lead(tokens), layer, self.layers, self.check_s, cut)

    def _lead(self, tokens: int) -> list[Launch]:
        return [Launch(self._host("prepare", tokens), 0.0), self._launch("embed", tokens)]

    def _attend_all(self, slices: Sequence[Slice]) -> Launch:
        parts = [self._attend(slice_) for slice_ in slices]
        return Launch(sum([part.host_s for part in parts]), sum([part.device_s for part in parts]))

    def _launch(self, operator: str, size: int) -> Launch:
        return Launch(self._host(operator, size), self.device.get(operator, free)(size))

    def _host(self, operator: str, size: int) -> float:
        return self.host.get(operator, free)(size)


class _Shape:
    """All of a forward's timeline that does not depend on its attention time nor on its head: those come last.

    With attention time a, the device ends a run of operators at max(A + a, B): A over the bubbles before
    attention, B over those behind it. Over L equal layers a bubble counts most in the first or in the last one, so
    the layers of an unchecked forward end at the maximum of a few terms c + k * a.
    """

    def __init__(
        self, tokens: int, lead: list[Launch], layer: list[Launch], layers: int, check_s: float, cut: str
    ) -> None:
        self._tokens, self._layers, self._check_s = tokens, layers, check_s
        self._terms, self._launched_s = _layers_end(lead, layer, layers)
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
        layers_s = max([const + times * attention_s for const, times in self._terms])
        unchecked_s = max(layers_s, self._launched_s + head.host_s) + head.device_s + self._check_s
        if not self._fixed:
            return Forward(self._tokens, (), 0.0, self._layers, unchecked_s, unchecked_s)
        parts = self._fixed.copy()
        before, behind = self._around
        parts[self._at] = max(before + attention_s, behind) + self._check_s
        first_s = self._first_s
        if self._first_around is not None:
            before, behind = self._first_around
            first_s = max(before + attention_s, behind) + self._check_s
        cuts_s = tuple(accumulate(parts))
        lead_s = first_s - parts[0]
        duration_s = lead_s + self._layers * cuts_s[-1] + head.host_s + head.device_s + self._check_s
        return Forward(self._tokens, cuts_s, lead_s, self._layers, duration_s, unchecked_s)


def _around(launches: Sequence[Launch], attention: int) -> tuple[float, float]:
    """(A, B) such that `launches`, with attention time a at this place, end at max(A + a, B)."""
    rest_s = sum([launch.device_s for launch in launches])
    launched_s, before, behind = 0.0, float("-inf"), float("-inf")
    for place, (host_s, device_s) in enumerate(launches):
        launched_s += host_s
        if place <= attention:
            before = max(before, launched_s + rest_s)
        else:
            behind = max(behind, launched_s + rest_s)
        rest_s -= device_s
    return before, behind


def _layers_end(lead: list[Launch], layer: list[Launch], layers: int) -> tuple[list[tuple[float, int]], float]:
    """When the device ends the layers of an unchecked forward, and when the host has launched them.

    Returns:
        Terms (c, k), such that with attention time a in each layer the device ends at the largest c + k * a; seconds.
    """
    device_s = sum([launch.device_s for launch in layer])
    lead_host_s = sum([launch.host_s for launch in lead])
    host_s = sum([launch.host_s for launch in layer])
    before, behind = _around(layer, ATTENTION)
    more_device_s, more_host_s = (layers - 1) * device_s, (layers - 1) * host_s
    terms = [
        (device_end(lead) + layers * device_s, layers),
        (lead_host_s + before + more_device_s, layers),
        (lead_host_s + behind + more_device_s, layers - 1),
        (lead_host_s + before + more_host_s, 1),
        (lead_host_s + behind + more_host_s, 0),
    ]
    return terms, lead_host_s + layers * host_s


def kv_capacity(spec: ModelSpec, memory_bytes: int, tp: int) -> int:
    """Tokens of KV cache beside the weights in nine tenths of the memory of `tp` GPUs (vLLM's default share)."""
    room = KV_MEMORY_SHARE * memory_bytes * tp - spec.weight_bytes
    return max(int(room // spec.kv_bytes_per_token), 0)


def pass_errors(model: CostModel, table: OperatorTable) -> dict[str, dict[str, float]]:
    """How far the model is off the whole forwards that the table holds and the fit never saw.

    Returns:
        For each kind of pass that was measured, the number of passes, and the median and largest relative error.
        Kinds: one prompt from 1024 tokens and below, chunks on context, packed prompts, passes checked at each cut.
    """
    errors: dict[str, list[float]] = {}
    for row in table.passes:
        slices = [Slice(*pair) for pair in row.shape]
        error = model.forward(slices, row.cut).duration_s / (row.wall_us * 1e-6) - 1
        errors.setdefault(_kind(row.cut, slices), []).append(abs(error))
    return {
        kind: {"passes": len(of), "median": float(np.median(of)), "max": max(of)} for kind, of in sorted(errors.items())
    }


def _kind(cut: str, slices: Sequence[Slice]) -> str:
    tokens = sum(slice_.tokens for slice_ in slices)
    size = "from 1024 tokens" if tokens >= 1024 else "below 1024 tokens"
    if cut != "none":
        return f"checked at every {cut}, {size}"
    if len(slices) > 1:
        return "packed prompts"
    return "chunk on context" if slices[0].context else f"whole prompt, {size}"


def _constant(seconds: float) -> Cost:
    return lambda size: seconds


def _attention_launch(table: OperatorTable) -> Callable[[int, int], float]:
    """Launch time of attention, of (tokens, context): the median of the kernel that is used there."""
    of: dict[str, list[float]] = {}
    for row in table.operators:
        if row.operator == "attention":
            of.setdefault(row.backend, []).append(row.host_us * 1e-6)
    medians = {backend: float(np.median(seconds)) for backend, seconds in of.items()}
    kernel = kernel_choice(table)
    return lambda tokens, context: medians[kernel(tokens, context)]


def _host_curve(table: OperatorTable, operator: str) -> Curve:
    rows = table.curve(operator)
    plain = rows.context == 0
    return Curve(rows.tokens[plain], rows.host_s[plain])


class Curve:
    """A cost of one size, between measured points by straight lines; outside them the nearest line goes on.

    Args:
        sizes: measured sizes, increasing, shape [n].
        seconds: cost at each; made non-decreasing by isotonic regression.
    """

    def __init__(self, sizes: NDArray[Any], seconds: NDArray[Any]) -> None:
        self._sizes = [float(size) for size in sizes]
        self._seconds = isotonic(seconds)

    def __call__(self, size: float) -> float:
        """Cost at this size, seconds."""
        sizes, seconds = self._sizes, self._seconds
        if len(sizes) == 1:
            return seconds[0]
        right = min(max(bisect_right(sizes, size), 1), len(sizes) - 1)
        slope = (seconds[right] - seconds[right - 1]) / (sizes[right] - sizes[right - 1])
        return max(seconds[right - 1] + slope * (size - sizes[right - 1]), 0.0)


class AttentionCurve:
    """The cost of attention, of (tokens, context).

    Between two measured sizes it grows linearly with the work, tokens * (context + (tokens + 1) / 2) query-key
    pairs, which is right both where a fixed cost and where the work dominates; between two measured contexts,
    linearly with the context.
    """

    def __init__(self, tokens: NDArray[Any], context: NDArray[Any], seconds: NDArray[Any]) -> None:
        self._contexts = sorted({int(c) for c in context})
        self._rows = [Curve(work(tokens[context == c], c), seconds[context == c]) for c in self._contexts]

    def __call__(self, tokens: int, context: int) -> float:
        """Device seconds of one layer's attention for `tokens` new ones on top of `context`."""
        if not tokens:
            return 0.0
        contexts = self._contexts
        right = min(max(bisect_right(contexts, context), 1), len(contexts) - 1)
        if not right:
            return self._rows[0](work(tokens, context))
        low, high = contexts[right - 1], contexts[right]
        # The largest so far: noise must not let it fall from one context to the next.
        at = [row(work(tokens, c)) for row, c in zip(self._rows[: right + 1], contexts, strict=False)]
        at_low, at_high = max(at[:-1]), max(at)
        return at_low + (at_high - at_low) * (context - low) / (high - low)


def work(tokens: Any, context: Any) -> Any:
    """Query-key pairs of causal attention: tokens * context + tokens * (tokens + 1) / 2."""
    return tokens * context + tokens * (tokens + 1) / 2


def isotonic(values: NDArray[Any]) -> list[float]:
    """The non-decreasing sequence nearest to `values`, with weights 1 / value: pool adjacent violators.

    Source: Barlow et al., Statistical Inference under Order Restrictions, 1972. Ours because scipy's takes longer to
    import than a whole run takes.
    """
    pools: list[tuple[float, float, int]] = []  # sum of weight * value, sum of weights, members
    for value in values.tolist():
        weight = 1 / max(value, 1e-9)
        total, members = weight * value, 1
        while pools and pools[-1][0] * weight >= total * pools[-1][1]:
            before = pools.pop()
            total, weight, members = total + before[0], weight + before[1], members + before[2]
        pools.append((total, weight, members))
    return [total / weight for total, weight, members in pools for _ in range(members)]
