"""A request as the scheduler meets it: what it asks for, by when, and how far it has got."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import force_setattr


class Request(Struct, frozen=True, eq=False, gc=False):
    """One prompt waiting to be prefilled, between two passes, or inside one.

    It is frozen: a policy that sets an attribute gets an AttributeError. Only the engine changes a request, by
    `msgspec.structs.force_setattr`.

    Attributes:
        id: row of the request in the trace; with `arrival_s` it settles every tie.
        arrival_s: when it arrived at the server, seconds: the scheduler has it since then.
        input_length: tokens of the whole prompt.
        slo_s: its TTFT SLO, seconds after it was sent; infinite for a request without an SLO.
        class_name: its class in the SLO mix ("text", "search", ...); "" if it has none.
        predicted_s: what the policy's predictor says the tokens left take, alone, seconds.
        predicted_whole_s: what it says the whole prompt takes, alone and with nothing cached, seconds; never changes.
        kv_tokens: tokens of the KV blocks that the whole prompt takes (whole blocks), shared or not; if not given, as
            many as the prompt has.
        blocks: ids of the whole prefix blocks of its prompt; empty without a prefix cache.
        priority: as the trace has it, a whole number; 0 if it has none. What it means is for the policy to say.
        client: the client (tenant) that sent it, as the trace has it; "" if unknown.
        output_length: tokens of the answer, as the trace has it; 0 if unknown. A real scheduler does not know it.
        context: tokens in the KV cache so far: cached, or computed.
        cached: tokens that the prefix cache of its instance holds, while it waits: now, later: when it was launched.
            They are not computed; the last token of a prompt always is.
        sent_s: when its client sent it, seconds; `arrival_s` unless a frontend takes time.
        deadline_s: `sent_s + slo_s`.
        tokens: tokens left to compute, `input_length - context`.
    """

    id: int
    arrival_s: float
    input_length: int
    slo_s: float
    class_name: str = ""
    predicted_s: float = 0.0
    kv_tokens: int = 0
    blocks: Sequence[int] = ()
    priority: int = 0
    client: str = ""
    output_length: int = 0
    context: int = 0
    cached: int = 0
    deadline_s: float = 0.0
    tokens: int = 0
    predicted_whole_s: float = 0.0
    sent_s: float = math.nan

    def __post_init__(self) -> None:
        if self.sent_s != self.sent_s:  # NaN
            force_setattr(self, "sent_s", self.arrival_s)
        force_setattr(self, "deadline_s", self.sent_s + self.slo_s)
        if not self.kv_tokens:
            force_setattr(self, "kv_tokens", self.input_length)
        force_setattr(self, "tokens", self.input_length - self.context)

    @property
    def begun(self) -> bool:
        """Whether a pass has computed some of it."""
        return self.context > self.cached

    def __repr__(self) -> str:
        """The request in one line, as a debugging policy author wants to read it."""
        return (
            f"Request({self.id}, arrived {self.arrival_s:.3f} s, due {self.deadline_s:.3f} s, "
            f"{self.context} of {self.input_length} tokens computed"
            f"{f', {self.cached} of them cached' if self.cached else ''})"
        )


def reuse(request: Request, cached: int) -> None:
    """Have a request take this many tokens from a prefix cache, before a pass has computed any."""
    force_setattr(request, "cached", cached)
    force_setattr(request, "context", cached)
    force_setattr(request, "tokens", request.input_length - cached)
