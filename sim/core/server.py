"""The server of a run: its prefill instances and their limits."""

from __future__ import annotations

from typing import Annotated

from flowsim.core.router import ROUTERS
from flowsim.core.timeline import GRAPH_STEP, graph_size
from flowsim.errors import InputError, unknown
from flowsim.io.schema import Checked, Count, PositiveCount, option


class ServerOptions(Checked, frozen=True):
    """What serves the requests. InputError for a value out of range, or an unknown router."""

    instances: Annotated[PositiveCount, option("Prefill instances, all alike.")] = 1
    router: Annotated[str, option("Which instance a request goes to: round-robin or least-work.", "NAME")] = (
        "round-robin"
    )
    slots: Annotated[PositiveCount, option("Passes an instance may have begun and not completed.")] = 128
    max_batched_tokens: Annotated[
        PositiveCount,
        option("Most tokens of one forward; a longer pass is split (vLLM's max_num_batched_tokens)."),
    ] = 8192
    kv_tokens: Annotated[
        PositiveCount | None, option("Tokens of an instance's KV cache.", "N", default="what fits on the GPU")
    ] = None
    block_tokens: Annotated[PositiveCount, option("Tokens of a KV block; a prompt takes whole blocks.")] = 16
    graph_tokens: Annotated[
        Count,
        option(
            "Forwards of one prompt of up to N tokens, without context, run as recorded CUDA graphs, padded to a "
            "multiple of 64; 0 for none."
        ),
    ] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.router not in ROUTERS:
            raise unknown("router", self.router, ROUTERS, where="router")
        if self.graph_tokens != graph_size(self.graph_tokens):
            raise InputError("graph_tokens", found=self.graph_tokens, expected=f"a multiple of {GRAPH_STEP}")
