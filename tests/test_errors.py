"""Errors: one text, made in one place, of fields that programs can read."""

from __future__ import annotations

import pickle
from threading import Event

import pytest

from flowsim.errors import InputError, raised, unknown


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InputError("seed", found=-1, expected=">= 0"), "seed must be >= 0, got -1"),
        (InputError("seed", found=None, expected=">= 0"), "seed must be >= 0, got nothing"),
        (InputError("name", found="x" * 200, expected="short"), f"name must be short, got 'x{'x' * 75}..."),
        (InputError("t.jsonl", "is empty"), "t.jsonl: is empty"),
        (InputError("t.jsonl", "is empty", expected="a request"), "t.jsonl: is empty; expected a request"),
        (InputError("no policy to compare"), "no policy to compare"),
        (
            InputError("input_length", found=0, expected=">= 1").within("row 3").within("t.csv"),
            "t.csv: row 3: input_length must be >= 1, got 0",
        ),
        (unknown("policy", "fcfz", ["fcfs", "edf"]), "unknown policy 'fcfz'; did you mean 'fcfs'? (known: edf, fcfs)"),
        (unknown("table", "zzz", []), "unknown table 'zzz' (known: none)"),
        (unknown("policy", "FCFS", ["fcfs"]), "unknown policy 'FCFS'; did you mean 'fcfs'? (known: fcfs)"),
        (InputError("t.jsonl", "two\n  lines\n"), "t.jsonl: two lines"),
        (InputError("x", found=Event(), expected="text"), "x must be text, got an Event"),
        (InputError("x", found=object(), expected="text"), "x must be text, got an object"),
        (InputError("x", found=Mute(), expected="text"), "x must be text, got a Mute"),
        (unknown("cut", Mute(), ["none"]), "unknown cut <Mute> (known: none)"),  # type: ignore[arg-type]
        (InputError("x", found=int, expected="text"), "x must be text, got the class int"),
        (
            unknown("class", "txt", ["text"], where="mix", expected="a class of the trace").within("t.yaml"),
            "t.yaml: mix: unknown class 'txt'; did you mean 'text'? (known: text); expected a class of the trace",
        ),
    ],
)
def test_an_error_is_one_line_made_of_its_fields(error: InputError, text: str) -> None:
    assert str(error) == text


def test_fields_survive_the_way_between_processes() -> None:
    for error in (
        InputError("seed", found=-1, expected=">= 0"),
        InputError("t.jsonl", "is empty"),
        unknown("policy", "fcfz", ["fcfs"], where="policy"),
    ):
        error.option = "seed"
        again = pickle.loads(pickle.dumps(error))
        assert (str(again), vars(again)) == (str(error), vars(error))


def test_an_unknown_name_is_a_field_with_those_that_are_known() -> None:
    error = unknown("policy", "fcfz", ["fcfs", "edf"], where="--policy")
    assert (error.where, error.kind, error.found, error.known, error.near) == (
        "--policy", "policy", "fcfz", ("edf", "fcfs"), "fcfs",
    )  # fmt: skip
    assert str(error.at("policy")).startswith("policy: unknown policy 'fcfz'")


def test_of_many_known_names_the_nearest_are_listed_once_each() -> None:
    names = [f"column_{number}" for number in range(100)]
    error = unknown("column", "column_7x", [*names, "column_7"])
    listed = str(error).partition("(known: ")[2].removesuffix(" and 90 more)").split(", ")
    assert len(set(listed)) == len(listed) == 10 and "column_7" in listed and "column_11" not in listed
    assert str(unknown("column", "x", ["seed", "seed"])) == "unknown column 'x' (known: seed)"


def test_what_foreign_code_raised_is_said_with_its_place() -> None:
    try:
        _ = {}["x"]
    except KeyError as error:
        assert raised(error).startswith("KeyError: 'x' (test_errors.py, line ")
