"""Plain values against typed structs: what is made of them, and what is said of those that do not fit."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pytest
from msgspec import Struct

from flowsim.errors import InputError
from flowsim.io.schema import Amount, Checked, Name, Positive, PositiveCount, build


class Server(Checked, frozen=True):
    slots: PositiveCount = 128
    router: Literal["round-robin", "least-work"] = "round-robin"
    kv_tokens: PositiveCount | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.slots == 13:
            raise InputError("slots", found=13, expected="another number")


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    trace: Name
    server: Server = Server()
    scale: Positive = 1.0
    window: tuple[Amount, Amount | None] | None = None
    mix: Mapping[str, Positive] = {}
    rows: Sequence[Sequence[float | None]] = ()
    quiet: bool = False
    slo: str | Positive = ""


def test_plain_values_become_a_struct() -> None:
    values = {"trace": "t", "server": {"slots": 4}, "scale": 2, "window": [0, None], "mix": {"text": 1}}
    made = build(Options, values)
    assert made == Options(trace="t", server=Server(slots=4), scale=2.0, window=(0.0, None), mix={"text": 1.0})
    assert type(made.scale) is float
    assert build(Options, made) is made


def test_numbers_of_numpy_are_numbers() -> None:
    made = Server(slots=np.int64(4))  # type: ignore[arg-type]
    assert made == Server(slots=4)
    assert type(made.slots) is int


def test_a_struct_made_in_python_is_checked_too() -> None:
    with pytest.raises(InputError, match=r"^slots must be >= 1, got 0$"):
        Server(slots=0)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "f.yaml must be a mapping of trace, server, scale, window, mix, rows, quiet, slo, got []"),
        ({}, "f.yaml: lacks trace"),
        ({"trace": ""}, "f.yaml: trace must be non-empty text, got ''"),
        ({"trace": None}, "f.yaml: trace must be non-empty text, got nothing"),
        ({"server": 3}, "f.yaml: server must be a mapping of slots, router, kv_tokens, got 3"),
        ({"server": {"slots": 0}}, "f.yaml: server.slots must be >= 1, got 0"),
        ({"server": {"slots": 1.5}}, "f.yaml: server.slots must be a whole number >= 1, got 1.5"),
        ({"server": {"slots": True}}, "f.yaml: server.slots must be a whole number >= 1, got True"),
        ({"server": {"slots": 13}}, "f.yaml: server.slots must be another number, got 13"),
        ({"server": {"kv_tokens": "x"}}, "f.yaml: server.kv_tokens must be a whole number >= 1, got 'x'"),
        (
            {"server": {"slos": 1}},
            "f.yaml: server: unknown field 'slos'; did you mean 'slots'? (known: kv_tokens, router, slots)",
        ),
        (
            {"server": {"router": "robin"}},
            "f.yaml: server.router: unknown router 'robin'; did you mean 'round-robin'? "
            "(known: least-work, round-robin)",
        ),
        ({"scale": 0}, "f.yaml: scale must be > 0, got 0"),
        ({"scale": 10**400}, f"f.yaml: scale must be <= 2^53, got 1{'0' * 76}..."),
        ({"scale": math.inf}, "f.yaml: scale must be <= 2^53, got inf"),
        ({"scale": math.nan}, "f.yaml: scale must be a number > 0, got nan"),
        ({"window": [1, "x"]}, "f.yaml: window[1] must be a number >= 0, got 'x'"),
        ({"window": [1]}, "f.yaml: window must be a list of a number >= 0, a number >= 0, got [1]"),
        ({"mix": {"text": -1}}, "f.yaml: mix.text must be > 0, got -1"),
        ({"mix": 3}, "f.yaml: mix must be a mapping (each value a number > 0), got 3"),
        ({"rows": [[1, None], ["u"]]}, "f.yaml: rows[1][0] must be a number, got 'u'"),
        ({"quiet": 1}, "f.yaml: quiet must be true or false, got 1"),
        ({"slo": []}, "f.yaml: slo must be text or a number > 0, got []"),
    ],
)
def test_what_does_not_fit_is_said_with_its_path(values: Any, said: str) -> None:
    given = {"trace": "t", **values} if isinstance(values, dict) and values else values
    with pytest.raises(InputError) as raised:
        build(Options, given, "f.yaml")
    assert str(raised.value) == said


def test_an_error_has_fields() -> None:
    with pytest.raises(InputError) as raised:
        build(Options, {"trace": "t", "server": {"slots": 0}})
    assert (raised.value.where, raised.value.found, raised.value.expected) == ("server.slots", 0, ">= 1")
