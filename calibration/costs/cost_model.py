"""The cost model: what any forward costs, from an operator table or from functions written by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from msgspec import Struct

from flowsim.calibration.costs.fit_record import FitRecord
from flowsim.calibration.costs.forward import Shape, layer_pieces
from flowsim.calibration.costs.host_times import SWITCH_S, StopTimes
from flowsim.calibration.costs.power import PowerModel
from flowsim.core.operators import ATTENTION, CHECKED_AFTER, LAYER_OPERATORS
from flowsim.core.pass_timeline import Forward, Launch, Slice, graph_size, split
from flowsim.core.server import ServerOptions
from flowsim.io.counts import percent
from flowsim.io.notebook import facts_html

Cost = Callable[[int], float]


KNOWN = 1 << 16
"""How many of each kind of answer a cost model remembers."""


class Steps(NamedTuple):
    """One forward's operators on the two clocks: before the layers, of one layer, after them; and a check's time."""

    lead: list[Launch]
    layer: list[Launch]
    head: Launch
    check_s: float


class GraphCost(Struct, frozen=True):
    """What forwards recorded as CUDA graphs take (`flowsim.calibration.gpu.graphs`), by the tokens of the recording.

    Attributes:
        most: tokens of the largest recording that was measured.
        layer: device seconds of one layer.
        prepare: host seconds to fill in what it is to compute and to launch it.
        check: seconds that each segment takes beyond its device time; an unchecked forward is one segment.
    """

    most: int
    layer: Cost
    prepare: Cost
    check: Cost


def free(size: int) -> float:
    """A cost of nothing."""
    return 0.0


class CostModel:
    """Device and host time of every operator, and from them the timeline of any forward.

    Linear operators cost a function of the pass's tokens; attention the sum over slices of a function of (tokens,
    context); the head a function of the number of slices (each samples one token). Every forward begins with
    `prepare` on the host and ends with a check, because its last token has to be read back.

    Args:
        name: what it was fitted to, as in "h200/llama3-8b/tp1".
        layers: number of layers.
        device: device seconds by operator of LAYER_OPERATORS (but attention), "embed" and "head"; absent = nothing.
        attention: device seconds of (tokens, context), one slice, one layer.
        host: launch seconds by operator (but attention), and "prepare". From a table: what is usual over all sizes, on
            which it does not depend; what a row takes beyond that is variation of the host.
        attention_launch: launch seconds of (tokens, context), one slice.
        calls: in how many calls of the framework an operator (but attention) is launched; 1 if absent.
        attention_calls: the same of (tokens, context), one slice.
        check_s: what one check adds on the host: the synchronise returns, the flag is read.
        acknowledge_s: from a pass's stop at a cut until the scheduler knows.
        complete_s: from a pass's end until the scheduler knows, which may have slept longer; None = `acknowledge_s`.
        resume_s: from the scheduler's word to the first launch of a pass, new or stopped.
        proceed: seconds from a pass's stop at a cut, where the policy wakes, until the same pass runs on, by the tokens
            of its forward; None = as long as until another pass runs: `acknowledge_s`, a decision and `resume_s`.
        decision: seconds of one scheduling decision, of the number of requests and passes it looks at: from taking
            in what happened until the runner has its order (`flowsim.calibration.measure.host_costs`).
        switch_s: how long a runner at a check waits for a scheduler that is deciding.
        prompt_s: host seconds that `prepare` takes more for each prompt of a forward.
        graph: what recorded forwards cost; None if that was not measured.
        tp: tensor-parallel degree; above 1 a signalled pass runs one more whole segment.
        kv_capacity_tokens: tokens that fit in the KV cache of one instance.
        boost: how much faster than all this a GPU is that has rested; None = not at all. Every time that a cost model
            gives is that of a busy GPU: only an instance knows how busy it was.
        provenance: the table that the costs were fitted to, and how accurate they are; None for costs given in Python.
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
        calls: Mapping[str, int] | None = None,
        attention_calls: Callable[[int, int], int] = lambda tokens, context: 1,
        check_s: float = 0.0,
        acknowledge_s: float = 0.0,
        complete_s: float | None = None,
        resume_s: float = 0.0,
        proceed: Cost | None = None,
        decision: Cost = free,
        switch_s: float = SWITCH_S,
        prompt_s: float = 0.0,
        graph: GraphCost | None = None,
        tp: int = 1,
        kv_capacity_tokens: int = 1 << 40,
        boost: PowerModel | None = None,
        provenance: FitRecord | None = None,
    ) -> None:
        self.name = name
        self.layers = layers
        self.device = device
        self.attention = attention
        self.host = host or {}
        self.attention_launch = attention_launch
        self.calls = calls or {}
        self.attention_calls = attention_calls
        self.check_s = check_s
        self.acknowledge_s = acknowledge_s
        self.complete_s = acknowledge_s if complete_s is None else complete_s
        self.resume_s = resume_s
        self.proceed = proceed
        self.decision = lru_cache(KNOWN)(decision)
        self.switch_s = switch_s
        self.prompt_s = prompt_s
        self.graph = graph
        self.tp = tp
        self.kv_capacity_tokens = kv_capacity_tokens
        self.boost = boost
        self.provenance = provenance
        names = (*LAYER_OPERATORS, "embed", "head")
        self._costs = {
            name: (self.host.get(name, free), device.get(name, free), self.calls.get(name, 1)) for name in names
        }
        costly = [name in self.host or name in device for name in LAYER_OPERATORS]
        self._pieces = {
            cut: [[self._costs[LAYER_OPERATORS[i]] for i in piece if costly[i]] for piece in layer_pieces(cut)]
            for cut in CHECKED_AFTER
        }
        self._attend = lru_cache(KNOWN)(self._new_attention)
        self._head = lru_cache(KNOWN)(lambda prompts: self._launch("head", prompts))
        self._shape = lru_cache(KNOWN)(self._new_shape)
        self._forward_of_one = lru_cache(KNOWN)(self._new_forward)

    @property
    def max_context(self) -> float:
        """Tokens of the model's context: a longer prompt cannot be served; infinite for costs given in Python."""
        return math.inf if self.provenance is None else self.provenance.table.rank().spec.max_context

    def forward(self, slices: Sequence[Slice], cut: str, *, recorded: bool = False) -> Forward:
        """The timeline of one forward.

        Args:
            slices: what it computes.
            cut: where it is checked.
            recorded: whether it runs as a recorded graph; only one prompt without context does.
        """
        if len(slices) == 1:
            return self._forward_of_one(tuple(slices), cut, recorded)
        return self._new_forward(slices, cut, recorded)

    def forward_s(self, tokens: int, context: int = 0, cut: str = "none") -> float:
        """Seconds of one forward over `tokens` of one prompt, on top of `context`."""
        return self.forward((Slice(tokens, context),), cut).duration_s

    def launches(self, slices: Sequence[Slice], *, recorded: bool = False) -> Steps:
        """The operators of one forward; its arguments are those of `forward`."""
        if recorded:
            return self._graph_steps(graph_size(slices[0].tokens))
        tokens = sum([slice_.tokens for slice_ in slices])
        layer = [self._launch(name, tokens) for name in LAYER_OPERATORS]
        layer[ATTENTION] = self._attend_all(slices)
        return Steps(self._lead(tokens, len(slices)), layer, self._head(len(slices)), self.check_s)

    def known_at_cut_s(self, tokens: int) -> float:
        """From the stop of a forward of `tokens` at a cut, where the policy wakes, until the scheduler knows."""
        return self.acknowledge_s if self.proceed is None else min(self.acknowledge_s, self.proceed(tokens))

    def stop_times(self, tokens: int, seen: int) -> StopTimes:
        """What follows on that, if the decision is among `seen` requests and passes.

        All takes what it takes elsewhere, or `proceed` in all if the same pass runs on.
        """
        if self.proceed is None:
            return StopTimes(self.decision(seen), self.resume_s, self.resume_s)
        return StopTimes.of(self.proceed(tokens), self.acknowledge_s, self.decision(seen), self.resume_s)

    def __repr__(self) -> str:
        """Name and one figure."""
        return f"CostModel({self.name}: 2048 tokens alone {self.forward_s(2048) * 1e3:.1f} ms)"

    def _repr_html_(self) -> str:
        sizes = (128, 512, 2048, 8192, 32768)
        rows = [("tokens of a prompt alone", *(f"{size:,}" for size in sizes))]
        for cut in ("none", "layer", "operator"):
            name = "unchecked" if cut == "none" else f"checked at every {cut}"
            rows.append((name, *(f"{self._solo_s(size, cut) * 1e3:,.1f} ms" for size in sizes)))
        kind = "given in Python" if self.provenance is None else self.provenance.table.kind
        error = None if self.provenance is None else self.provenance.stated_error
        stated = "error not known" if error is None else f"stated error {percent(error)}"
        return facts_html(self.name, rows, f", {kind}, {stated}")

    def _solo_s(self, tokens: int, cut: str) -> float:
        """Seconds of one prompt in forwards of a server's default size."""
        parts = split((Slice(tokens, 0),), ServerOptions().max_batched_tokens)
        return sum(self.forward(part, cut).duration_s for part in parts)

    def _graph_steps(self, size: int) -> Steps:
        """A recorded forward of `size` tokens; once launched, it does not need the host until the next check."""
        graph = self.graph
        assert graph is not None
        device = [self.device.get(name, free)(size) for name in LAYER_OPERATORS]
        device[ATTENTION] = self.attention(size, 0)
        scale = graph.layer(size) / (sum(device) or 1.0)
        lead = [Launch(graph.prepare(size) + self.prompt_s, 0.0), Launch(0.0, self.device.get("embed", free)(size))]
        layer = [Launch(0.0, scale * device_s) for device_s in device]
        return Steps(lead, layer, Launch(0.0, self.device.get("head", free)(1)), graph.check(size))

    def _new_forward(self, slices: Sequence[Slice], cut: str, recorded: bool) -> Forward:
        head = self._head(len(slices))
        if recorded:
            lead, layer, head, check_s = self._graph_steps(graph_size(slices[0].tokens))
            parts = [layer[piece.start : piece.stop] for piece in layer_pieces(cut)]
            return Shape(slices[0].tokens, lead, parts, self.layers, check_s, cut).forward(layer[ATTENTION], head)
        prompts = len(slices) if self.prompt_s else 1
        shape = self._shape(sum([slice_.tokens for slice_ in slices]), cut, prompts)
        return shape.forward(self._attend_all(slices), head)

    def _new_shape(self, tokens: int, cut: str, prompts: int) -> Shape:
        layer = [
            [(host(tokens), device(tokens), calls) for host, device, calls in piece] for piece in self._pieces[cut]
        ]
        return Shape(tokens, self._lead(tokens, prompts), layer, self.layers, self.check_s, cut)

    def _lead(self, tokens: int, prompts: int) -> list[Launch]:
        return [Launch(self._host("prepare", tokens) + self.prompt_s * prompts, 0.0), self._launch("embed", tokens)]

    def _attend_all(self, slices: Sequence[Slice]) -> Launch:
        if len(slices) == 1:
            return self._attend(slices[0])
        host_s, device_s, calls = 0.0, 0.0, 0
        for slice_ in slices:
            its_host_s, its_device_s, its_calls = self._attend(slice_)
            host_s, device_s, calls = host_s + its_host_s, device_s + its_device_s, calls + its_calls
        return Launch(host_s, device_s, calls)

    def _new_attention(self, one: Slice) -> Launch:
        size = one.tokens, one.context
        return Launch(self.attention_launch(*size), self.attention(*size), self.attention_calls(*size))

    def _launch(self, operator: str, size: int) -> Launch:
        host, device, calls = self._costs[operator]
        return Launch(host(size), device(size), calls)

    def _host(self, operator: str, size: int) -> float:
        return self.host.get(operator, free)(size)
