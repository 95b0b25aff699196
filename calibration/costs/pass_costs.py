"""What passes cost on one server, which splits them into forwards, checks them at a cut and may replay recordings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial

from flowsim.calibration.costs.cost_model import KNOWN, CostModel
from flowsim.core.pass_timeline import Slice, Timeline, graph_size, split
from flowsim.core.server import ServerOptions
from flowsim.errors import InputError


class PassCosts:
    """What passes cost on a server; made once for a run, whose instances and predictor share what it remembers.

    Args:
        model: what forwards cost.
        server: the limits of a forward, and up to how many tokens one prompt without context runs as a recorded graph.
        cut: where passes are checked.

    Raises:
        InputError: recorded forwards of this size were not measured.
    """

    def __init__(self, model: CostModel, server: ServerOptions, cut: str) -> None:
        check_recorded(model, server)
        self.model = model
        self.server = server
        self.cut = cut
        self._timeline_of_one = lru_cache(KNOWN)(partial(_timeline, model, server, cut))

    def timeline(self, slices: Sequence[Slice]) -> Timeline:
        """The timeline of a pass that computes these slices, in as many forwards as that takes."""
        if len(slices) == 1:
            return self._timeline_of_one(tuple(slices))
        return _timeline(self.model, self.server, self.cut, slices)

    def solo_s(self, tokens: int, context: int = 0) -> float:
        """Seconds that one prompt of `tokens` takes alone, on top of `context`."""
        return self.timeline((Slice(tokens, context),)).duration_s


def check_recorded(model: CostModel, server: ServerOptions) -> None:
    """Raise `InputError` unless it is known what the recorded forwards of this server cost."""
    graph_tokens, graph = server.graph_tokens, model.graph
    if graph_tokens and graph is None:
        raise InputError("graph_tokens", f"{model.name} was measured without recorded forwards", expected="0")
    if graph is not None and graph_tokens > graph.most:
        expected = f"<= {graph.most} (the most measured for {model.name})"
        raise InputError("graph_tokens", found=graph_tokens, expected=expected)


def _timeline(model: CostModel, server: ServerOptions, cut: str, slices: Sequence[Slice]) -> Timeline:
    if sum([slice_.tokens for slice_ in slices]) <= server.max_batched_tokens:
        recorded = _is_recorded(slices, server)
        size = graph_size(slices[0].tokens) if recorded else 0
        return Timeline((model.forward(slices, cut, recorded=recorded),), cut, size)
    parts = split(slices, server.max_batched_tokens)
    return Timeline([model.forward(part, cut, recorded=_is_recorded(part, server)) for part in parts], cut)


def _is_recorded(slices: Sequence[Slice], server: ServerOptions) -> bool:
    """Whether a forward over these slices runs as a recorded graph."""
    return slices[0].tokens <= server.graph_tokens and len(slices) == 1 and not slices[0].context
