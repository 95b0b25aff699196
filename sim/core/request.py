"""A request as the scheduler meets it: what it asks for, by when, and how far it has got."""

from __future__ import annotations

from collections.abc import Sequence


class Request:
    """One prompt waiting to be prefilled, between two passes, or inside one. Only the engine changes it.

    Attributes:
        id: row of the request in the trace; with `arrival_s` it settles every tie.
        arrival_s: when it arrived, seconds.
        slo_s: its TTFT SLO, seconds after arrival; infinite for a request without an SLO.
        deadline_s: `arrival_s + slo_s`.
        class_name: its class in the SLO mix ("text", "search", ...); "" if it has none.
        priority: as the trace has it, a whole number; 0 if it has none. What it means is for the policy to say.
        client: the client (tenant) that sent it, as the trace has it; "" if unknown.
        input_length: tokens of the whole prompt.
        output_length: tokens of the answer, as the trace has it; 0 if unknown. A real scheduler does not know it.
        kv_tokens: tokens of the KV blocks that the whole prompt takes (whole blocks), shared or not.
        blocks: ids of the whole prefix blocks of its prompt; empty without a prefix cache.
        cached: tokens that the prefix cache of its instance holds, while it waits: now, later: when it was launched.
            They are not computed; the last token of a prompt always is.
        context: tokens in the KV cache so far: cached, or computed.
        tokens: tokens left to compute, `input_length - context`.
        predicted_s: what the policy's predictor says the tokens left take, alone, seconds.
    """

    __slots__ = (
        "arrival_s",
        "blocks",
        "cached",
        "class_name",
        "client",
        "context",
        "deadline_s",
        "id",
        "input_length",
        "kv_tokens",
        "output_length",
        "predicted_s",
        "priority",
        "slo_s",
        "tokens",
    )

    def __init__(
        self,
        id: int,
        arrival_s: float,
        input_length: int,
        slo_s: float,
        class_name: str = "",
        predicted_s: float = 0.0,
        block_tokens: int = 1,
        blocks: Sequence[int] = (),
        priority: int = 0,
        client: str = "",
        output_length: int = 0,
    ) -> None:
        self.id = id
        self.arrival_s = arrival_s
        self.slo_s = slo_s
        self.deadline_s = arrival_s + slo_s
        self.class_name = class_name
        self.priority = priority
        self.client = client
        self.input_length = input_length
        self.output_length = output_length
        self.kv_tokens = -(-input_length // block_tokens) * block_tokens
        self.blocks = blocks
        self.cached = self.context = 0
        self.tokens = input_length
        self.predicted_s = predicted_s

    def reuse(self, cached: int) -> None:
        """Take this many tokens from a prefix cache, before a pass has computed any."""
        self.cached = self.context = cached
        self.tokens = self.input_length - cached

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
