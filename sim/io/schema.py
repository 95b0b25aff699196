"""Plain values from a file, checked against the types of a dataclass's fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from flowsim.errors import InputError, unknown

Made = TypeVar("Made")
LEAST = -1
"""Of whole numbers: where there is no token, its id is -1."""
MOST = 2**53
"""Of numbers: up to here all whole ones are floats as well."""


def made(kind: type[Made], values: Any, where: str) -> Made:
    """An instance of this dataclass from a mapping of its fields.

    Numbers are from 0, whole ones from LEAST, all up to MOST.

    Raises:
        InputError: no mapping, an unknown or a missing field, or a value of another type. It begins with `where`.
    """
    if not isinstance(values, dict):
        raise InputError(f"{where}: found {_short(values)}; allowed: a mapping")
    hints = get_type_hints(kind)
    needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in hints:
            raise InputError(f"{where}: {unknown('field', name, hints)}")
        if not fits(value, hints[name]):
            raise InputError(f"{where}, {name}: found {_misfit(value, hints[name])}; allowed: {said(hints[name])}")
    if missing := sorted(needed - set(values)):
        raise InputError(f"{where}: missing: {', '.join(missing)}")
    return kind(**values)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value that JSON can hold is of this type."""
    if isinstance(hint, UnionType):
        return any(fits(value, one) for one in get_args(hint))
    if get_origin(hint) is Sequence:
        (of,) = get_args(hint)
        return isinstance(value, list) and all(fits(one, of) for one in value)
    if get_origin(hint) is Mapping:
        of = get_args(hint)[1]
        return isinstance(value, dict) and all(fits(one, of) for one in value.values())
    if hint is float:
        return type(value) in (int, float) and 0 <= value <= MOST
    if hint is int:
        return type(value) is int and LEAST <= value <= MOST
    return hint is Any or type(value) is hint


def said(hint: Any) -> str:
    """A type, in words: "a list, each a text"."""
    if isinstance(hint, UnionType):
        return " or ".join(said(one) for one in get_args(hint))
    if get_origin(hint) in (Sequence, Mapping):
        of = said(get_args(hint)[-1])
        return f"a {'list' if get_origin(hint) is Sequence else 'mapping'}, each {of}"
    words = {float: "a number from 0 to 2^53", int: f"a whole number from {LEAST} to 2^53"}
    words |= {str: "a text", NoneType: "null"}
    return words.get(hint, "anything")


def _misfit(value: Any, hint: Any) -> str:
    """What does not fit: the value or, of a list that may be one, its first row that does not."""
    if get_origin(hint) is Sequence and isinstance(value, list):
        (of,) = get_args(hint)
        row, wrong = next((i, one) for i, one in enumerate(value) if not fits(one, of))
        return f"{_misfit(wrong, of)} in row {row}"
    return _short(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:50]}..., a {type(value).__name__}"
