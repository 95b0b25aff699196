"""The server of a run: its prefill instances, their limits, and the serving stack around them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from flowsim.core.pass_timeline import GRAPH_STEP, graph_size
from flowsim.core.router import ROUTERS
from flowsim.errors import InputError, unknown
from flowsim.io.schema import Amount, Checked, Count, Name, Positive, PositiveCount, option
from flowsim.io.seeds import generator

PARAMETERS = {"none": (), "exponential": ("MEAN",), "lognormal": ("MEDIAN", "SIGMA")}
"""The parameters of each distribution: seconds, but for SIGMA, the standard deviation of the logarithm."""


class Jitter(Struct, frozen=True):
    """A distribution of times.

    Attributes:
        kind: one of PARAMETERS.
        parameters: their values, >= 0.
    """

    kind: str = "none"
    parameters: tuple[float, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Jitter:
        """A distribution from text such as "exponential:0.002". InputError: an unknown one, or wrong parameters."""
        kind, *rest = text.split(":")
        if kind not in PARAMETERS:
            raise unknown("jitter", kind, PARAMETERS, where="jitter")
        try:
            values = tuple(float(value) for value in rest)
        except ValueError:
            values = ()
        if len(values) != len(PARAMETERS[kind]) or not all(0 <= value < math.inf for value in values):
            expected = ":".join((kind, *PARAMETERS[kind]))
            raise InputError(
                "jitter", found=text, expected=f"{expected}, numbers >= 0" if PARAMETERS[kind] else expected
            )
        return cls(kind, values)

    def draw(self, n: int, seed: int) -> NDArray[np.float64]:
        """Independent times of n requests, seconds, shape [n]."""
        if self.kind == "none":
            return np.zeros(n)
        random = generator(seed, *b"jitter")
        if self.kind == "exponential":
            return random.exponential(self.parameters[0], n)
        median_s, sigma = self.parameters
        return median_s * np.exp(sigma * random.standard_normal(n))


MOST_INSTANCES = 100_000
"""Each has queues of its own, before any request arrives."""
STACK = ("frontend_s", "jitter", "return_s", "host_s", "host_request_s", "device_factor")
"""The options of the serving stack, which a file may hold (`flowsim.runs.serving_stack`)."""


class ServerOptions(Checked, frozen=True):
    """What serves the requests. InputError for a value out of range, an unknown router or an unknown jitter."""

    instances: Annotated[int, Meta(ge=1, le=MOST_INSTANCES), option("Prefill instances, all alike.")] = 1
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
    frontend_s: Annotated[Amount, option("Seconds from the client's send until the scheduler has a request.", "S")] = (
        0.0
    )
    jitter: Annotated[
        Name,
        option(
            "What comes on top of that, at random: none, exponential:MEAN or lognormal:MEDIAN:SIGMA, seconds.", "SPEC"
        ),
    ] = "none"
    return_s: Annotated[Amount, option("Seconds from the first token until the client has it.", "S")] = 0.0
    host_s: Annotated[Amount, option("Host seconds of the serving engine before each forward.", "S")] = 0.0
    host_request_s: Annotated[Amount, option("Host seconds more for each request of a forward.", "S")] = 0.0
    device_factor: Annotated[Positive, option("Multiply the device times of the table.", "FACTOR")] = 1.0
    stack: Annotated[
        Name | None,
        option("File with these options of the stack (from flowsim calibrate server).", "FILE", file=True),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.router not in ROUTERS:
            raise unknown("router", self.router, ROUTERS, where="router")
        if self.graph_tokens != graph_size(self.graph_tokens):
            raise InputError("graph_tokens", found=self.graph_tokens, expected=f"a multiple of {GRAPH_STEP}")
        Jitter.parse(self.jitter)
        if self.stack is not None and self.has_stack:
            raise InputError("stack", "is given together with options of the stack", expected="one of them")

    def stack_s(self, tokens: Sequence[int]) -> float:
        """Host seconds that the serving engine takes in a pass with these tokens of each of its requests."""
        ends, size = list(accumulate(tokens)), self.max_batched_tokens
        prompts = sum(-(-end // size) - (end - n) // size for n, end in zip(tokens, ends, strict=True))
        return -(-ends[-1] // size) * self.host_s + prompts * self.host_request_s

    @property
    def has_stack(self) -> bool:
        """Whether any option of the stack has another value than its default."""
        return any(getattr(self, name) != getattr(_BARE, name) for name in STACK)


_BARE = ServerOptions()
