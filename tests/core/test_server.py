"""The server of a run: its limits, checked however it is made, and its jitter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import asdict

from flowsim.core.server import Jitter, ServerOptions
from flowsim.errors import InputError
from flowsim.io.schema import build

DEFAULTS = {
    "instances": 1,
    "router": "round-robin",
    "slots": 128,
    "max_batched_tokens": 8192,
    "kv_tokens": None,
    "block_tokens": 16,
    "graph_tokens": 0,
    "frontend_s": 0.0,
    "jitter": "none",
    "return_s": 0.0,
    "host_s": 0.0,
    "host_request_s": 0.0,
    "device_factor": 1.0,
    "stack": None,
}


def test_the_host_time_of_a_pass() -> None:
    """Forwards of 4 tokens: 3 + 1, 4, 1; requests in them: 2 + 1 + 1."""
    server = ServerOptions(max_batched_tokens=4, host_s=1.0, host_request_s=0.25)
    assert server.stack_s([3, 6]) == 3 * 1.0 + 4 * 0.25
    assert server.stack_s([4]) == 1.25
    assert ServerOptions().stack_s([9, 9]) == 0.0


def test_the_defaults() -> None:
    assert asdict(ServerOptions()) == asdict(build(ServerOptions, {})) == DEFAULTS


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        *((name, 0, "must be >= 1, got 0") for name in ("instances", "slots", "max_batched_tokens", "block_tokens")),
        ("kv_tokens", 0, "must be >= 1, got 0"),
        ("kv_tokens", 1.5, "must be a whole number >= 1, got 1.5"),
        ("slots", True, "must be a whole number >= 1, got True"),
        ("graph_tokens", 65, "must be a multiple of 64, got 65"),
        ("graph_tokens", -64, "must be >= 0, got -64"),
        ("router", "random", ": unknown router 'random' (known: least-work, round-robin)"),
        (
            "router",
            "least-wrok",
            ": unknown router 'least-wrok'; did you mean 'least-work'? (known: least-work, round-robin)",
        ),
    ],
)
def test_a_wrong_limit_is_refused_in_python_and_in_a_file(field: str, value: Any, said: str) -> None:
    text = f"{field}{said}" if said.startswith(":") else f"{field} {said}"
    with pytest.raises(InputError) as error:
        ServerOptions(**{field: value})
    assert str(error.value) == text
    with pytest.raises(InputError) as error:
        build(ServerOptions, {field: value}, "c.yaml")
    assert str(error.value) == f"c.yaml: {text}"


def test_draws_of_jitter_have_the_mean_and_the_median_that_the_text_says() -> None:
    assert Jitter.parse("exponential:0.2").draw(100_000, 0).mean() == pytest.approx(0.2, rel=0.01)
    drawn = np.log(Jitter.parse("lognormal:0.2:0.5").draw(100_000, 0))
    assert np.exp(np.median(drawn)) == pytest.approx(0.2, rel=0.01)
    assert drawn.std() == pytest.approx(0.5, rel=0.01)
    assert Jitter.parse("none").draw(2, 0).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("text", ["exponential:x", "exponential:-1", "lognormal:1", "none:1", "exponential:inf", ""])
def test_wrong_parameters_of_jitter_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="jitter"):
        Jitter.parse(text)
