"""Plain values, from a file, a command line or Python, checked against typed structs and made into them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from numbers import Number
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from flowsim.errors import InputError, unknown

T = TypeVar("T", bound=Struct)

MOST = 2**53
"""Bound of numbers: every whole number up to here is a float as well."""

Amount = Annotated[float, Meta(ge=0, le=MOST)]
"""A number >= 0, not infinite."""
Positive = Annotated[float, Meta(gt=0, le=MOST)]
"""A number > 0, not infinite."""
Count = Annotated[int, Meta(ge=0, le=MOST)]
"""A whole number >= 0."""
PositiveCount = Annotated[int, Meta(ge=1, le=MOST)]
"""A whole number >= 1."""
Name = Annotated[str, Meta(min_length=1)]
"""Text that is not empty."""

WORDS = {float: "a number", int: "a whole number", str: "text", bool: "true or false", NoneType: "null"}
ANYTHING = "anything"
SIGNS: Mapping[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "gt": (">", operator.lt),
    "ge": (">=", operator.le),
    "lt": ("<", operator.gt),
    "le": ("<=", operator.ge),
}
"""The bounds that `Meta` has: the sign, and whether bound and value are in this order."""


def option(
    help: str, metavar: str = "", *, default: str = "", keyword: str = "", flag: str | None = "", file: bool = False
) -> Meta:
    """What users are told of a field that is an option; to stand in the field's type, `Annotated[int, option(...)]`.

    Args:
        help: what it is for, one sentence or two.
        metavar: what stands for its value: "FROM:TO".
        default: the default in words, where the value itself does not say it.
        keyword: its name as an argument in Python, where that is not the field's.
        flag: its name on the command line, where that is not its keyword with dashes; None if it has none there.
        file: whether a text may be the name of a file or folder.
    """
    extra = {"metavar": metavar, "default": default, "keyword": keyword, "flag": flag, "file": file}
    return Meta(description=help, extra=extra)


class Checked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A struct whose fields are also checked when it is made in Python. InputError names the field."""

    def __post_init__(self) -> None:
        for name, hint in hints(type(self)).items():
            value = getattr(self, name)
            fitting = fitted(value, hint, name)
            if fitting is not value:
                msgspec.structs.force_setattr(self, name, fitting)


def build(kind: type[T], values: object, where: str = "") -> T:
    """The struct of this kind from a mapping of its fields (or from one that is made already).

    Args:
        kind: the struct; the types of its fields, with `msgspec.Meta`, say what is allowed.
        values: plain values, as YAML and JSON hold them.
        where: the file or option that they come from.

    Raises:
        InputError: not a mapping, an unknown or a missing field, or a value of another type. Its `where` is `where`
            and the dotted path of the field: "config.yaml: server.slots", "case.json: runs[0].started_s[3]".
    """
    try:
        return _struct(kind, values, "")
    except InputError as error:
        raise (error.within(where) if where else error) from None


def fitted(value: object, hint: Any, where: str) -> Any:
    """A value as this type has it (3 becomes 3.0 where the type is float). InputError if it does not fit."""
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError:
        plain = _plain(value)
    try:
        return msgspec.convert(plain, hint)
    except msgspec.ValidationError:
        raise _wrong(plain, hint, where) from None


@cache
def hints(kind: type[Struct]) -> Mapping[str, Any]:
    """The types of a struct's fields, with their metadata, by name, in order."""
    known = get_type_hints(kind, include_extras=True)
    return {name: known[name] for name in kind.__struct_fields__}


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The types that a value may have, other than None, each without its metadata."""
    return tuple(_bare(kind) for kind in _options(hint) if kind is not NoneType)


def expected(hint: Any, value: object = None) -> str:
    """What a type allows, to be read after "must be"; of a value of the right type only the bound that it breaks."""
    kinds = [one for one in _options(hint) if one is not NoneType]
    for kind in kinds:
        base, bounds = _bounds(kind)
        if base in (int, float) and _is_number(value) and (base is float or type(value) is int):
            broken = [bound.said for bound in bounds if not bound.keeps(value)]
            if broken and value == value:  # not NaN; a whole number may be too large for a float
                return broken[0]
    return " or ".join(dict.fromkeys(_said(kind) for kind in kinds)) or "null"


def _plain(value: object) -> object:
    """The value with Python's own numbers in place of NumPy's."""
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value.item() if isinstance(value, Number) and hasattr(value, "item") else value


def _struct(kind: type[T], values: object, path: str) -> T:
    if isinstance(values, kind):
        return values
    known = hints(kind)
    if not isinstance(values, Mapping):
        raise InputError(path, found=values, expected=f"a mapping of {', '.join(known)}")
    for key in values:
        if key not in known:
            raise unknown("field", str(key), known, where=path)
    if missing := [name for name in _needed(kind) if name not in values]:
        raise InputError(path, f"lacks {', '.join(missing)}")
    if not issubclass(kind, Checked):  # which fits its own
        values = {key: fitted(value, known[key], _joined(path, key)) for key, value in values.items()}
    try:
        return kind(**values)
    except InputError as error:
        raise _inside(path, error) from None


@cache
def _needed(kind: type[Struct]) -> tuple[str, ...]:
    """The fields that must be given; working them out takes a millisecond, and a study asks thousands of times."""
    return tuple(field.name for field in msgspec.structs.fields(kind) if field.required)


def _wrong(value: object, hint: Any, path: str) -> InputError:
    """The error for the innermost part of a value that does not fit."""
    for kind in _options(hint):
        base = _bare(kind)
        if isinstance(base, type) and issubclass(base, Struct) and isinstance(value, Mapping):
            try:
                _struct(base, value, path)
            except InputError as error:
                return error
        for name, part, its_hint in _parts(value, base):
            if not _fits(part, its_hint):
                return _wrong(part, its_hint, f"{path}{name}")
        if get_origin(base) is Literal and isinstance(value, str):
            return unknown(path.rpartition(".")[2], value, map(str, get_args(base)), where=path)
    return InputError(path, found=value, expected=expected(hint, value))


def _parts(value: object, hint: Any) -> Iterable[tuple[str, object, Any]]:
    """Of a list or a mapping, if both the value and the type are one: name, value and type of each part."""
    origin, inner = get_origin(hint), get_args(hint)
    if isinstance(value, list | tuple) and origin in (list, tuple, Sequence):
        types = inner if origin is tuple and Ellipsis not in inner else inner[:1] * len(value)
        return [(f"[{i}]", part, kind) for i, (part, kind) in enumerate(zip(value, types, strict=False))]
    if isinstance(value, Mapping) and origin in (dict, Mapping):
        return [(f".{key}", part, inner[1]) for key, part in value.items()]
    return []


def _fits(value: object, hint: Any) -> bool:
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError:
        return False
    return True


def _inside(path: str, error: InputError) -> InputError:
    """The same error, of a field of the part at `path`."""
    return error.at(_joined(path, error.where) if error.where else path)


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _options(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the one type that it is."""
    bare = _bare(hint)
    return get_args(bare) if get_origin(bare) in (Union, UnionType) else (hint,)


def _bare(hint: Any) -> Any:
    """A type without its metadata."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class _Bound(NamedTuple):
    """A bound of a number: its sign and its limit, and whether a number keeps it."""

    sign: str
    limit: float
    keeps: Callable[[Any], bool]

    @property
    def said(self) -> str:
        return f"{self.sign} {'2^53' if self.limit == MOST else f'{self.limit:g}'}"


def _bounds(hint: Any) -> tuple[Any, list[_Bound]]:
    """A type without its metadata, and its bounds."""
    found: list[_Bound] = []
    for meta in getattr(hint, "__metadata__", ()):
        for name, (sign, keeps) in SIGNS.items():
            if isinstance(meta, Meta) and (bound := getattr(meta, name)) is not None:
                found.append(_Bound(sign, bound, partial(keeps, bound)))
    return _bare(hint), found


def _said(hint: Any) -> str:
    """A type in words: "a whole number >= 1", "a list (each item a number)"."""
    base, bounds = _bounds(hint)
    origin, inner = get_origin(base), get_args(base)
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin in (list, tuple, Sequence, dict, Mapping):
        each = [expected(one) for one in (inner[1:] if origin in (dict, Mapping) else inner) if one is not Ellipsis]
        what = "mapping" if origin in (dict, Mapping) else "list"
        if origin is tuple and Ellipsis not in inner:
            return f"a {what} of {', '.join(each)}"
        part = "value" if what == "mapping" else "item"
        return f"a {what}" if each[0] == ANYTHING else f"a {what} (each {part} {each[0]})"
    if isinstance(base, type) and issubclass(base, Struct):
        return f"a mapping of {', '.join(hints(base))}"
    if base is str and any(getattr(meta, "min_length", None) for meta in getattr(hint, "__metadata__", ())):
        return "non-empty text"
    limits = " and ".join(bound.said for bound in bounds if bound.limit != MOST)
    return f"{WORDS.get(base, ANYTHING)} {limits}".strip()
