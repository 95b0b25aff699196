"""The sources that decide how a policy behaves: its module's and those it imports or, in a notebook, its cells'."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import Any

import numpy as np

from flowsim.errors import InputError
from flowsim.io.sha256 import sha256_of
from flowsim.runs.own_modules import is_own, own_modules

MAIN = "__main__"
"""The module of what is defined in a notebook's cells, or in the script that is run."""
PLAIN = (bool, int, float, complex, str, bytes, type(None))
UNSAID = ("__dict__", "__weakref__", "__module__", "__doc__", "__firstlineno__", "__static_attributes__", "__hash__")
"""Attributes of a class that its source does not decide, or that decide nothing."""


def main_sources(name: str, kind: type) -> dict[str, str]:
    """What the source of a class in `__main__` is, by the names of what it consists of and uses there.

    Args:
        name: of the policy, for errors.
        kind: the class.

    Raises:
        InputError: the source of a function in it cannot be read, as in a console that keeps none.
    """
    found: dict[str, str] = {}
    try:
        _describe(kind, kind.__qualname__, found, {})
    except OSError:
        expected = "one in a file (MODULE:CLASS), in a script or in a notebook's cell"
        raise InputError(f"policy {name!r}", "has a source that cannot be read", expected=expected) from None
    return found


def _describe(value: Any, place: str, found: dict[str, str], seen: dict[int, Any]) -> None:
    """Write down what a value is, and all that it refers to in `__main__`, by place; each value once."""
    if not isinstance(value, PLAIN):
        if id(value) in seen:
            found[place] = "as above"
            return
        seen[id(value)] = value  # so that its id stays its own
    for part, inner in _parts(value, place, found):
        _describe(inner, f"{place}.{part}", found, seen)


def _parts(value: Any, place: str, found: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """Write down what a value is in itself; the other values that it consists of, or uses."""
    if isinstance(value, FunctionType) and _in_main(value):
        yield from _function(value, place, found)
    elif isinstance(value, type) and _in_main(value):
        found[place] = f"class {value.__qualname__} {vars(value).get('__dataclass_params__')}"
        yield from enumerated(value.__bases__)
        yield from sorted((name, part) for name, part in vars(value).items() if _said(name, part))
    elif isinstance(value, type | FunctionType | ModuleType):
        found[place] = _elsewhere(value)
    elif isinstance(value, property):
        yield from enumerated((value.fget, value.fset))
    elif isinstance(value, staticmethod | classmethod):
        yield "function", value.__func__
    elif isinstance(value, functools.partial):
        yield from enumerated((value.func, value.args, value.keywords))
    elif isinstance(value, Mapping):
        yield from ((repr(key), part) for key, part in value.items())
    elif isinstance(value, list | tuple):
        yield from enumerated(value)
    elif isinstance(value, np.ndarray):
        found[place] = f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    elif isinstance(value, PLAIN):
        found[place] = repr(value)
    elif isinstance(value, set | frozenset):
        found[place] = repr(sorted(map(repr, value)))
    else:
        yield "type", type(value)
        yield from _fields(value)


def _function(value: FunctionType, place: str, found: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """A function's source; its defaults, the variables that it encloses, and the globals that it names."""
    found[place] = inspect.getsource(value.__code__)
    yield "defaults", (value.__defaults__, value.__kwdefaults__)
    cells = value.__closure__ or ()
    yield from ((name, cell.cell_contents) for name, cell in zip(value.__code__.co_freevars, cells, strict=True))
    known = value.__globals__
    yield from ((name, known[name]) for name in sorted(_names(value.__code__)) if name in known)


def _names(code: CodeType) -> set[str]:
    """The names that a function's code, and the code of functions in it, look up."""
    inner = [_names(part) for part in code.co_consts if isinstance(part, CodeType)]
    return set(code.co_names).union(*inner)


def _said(name: str, part: Any) -> bool:
    """Whether an attribute of a class is in its source; what a dataclass generates is not."""
    generated = isinstance(part, FunctionType) and inspect.unwrap(part).__code__.co_filename == "<string>"
    slot = isinstance(part, MemberDescriptorType | GetSetDescriptorType)
    return not ((generated and name.startswith("__")) or slot or name in UNSAID or name.startswith("__dataclass_"))


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    """The attributes of an object, by name."""
    if dataclasses.is_dataclass(value):
        yield from ((field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value))
    elif hasattr(value, "__dict__"):
        yield from sorted(vars(value).items())


def _in_main(value: type | FunctionType) -> bool:
    return value.__module__ == MAIN


def _elsewhere(value: type | FunctionType | ModuleType) -> str:
    """Of what another module holds: its name, and digests of the module's files if it is the user's own."""
    module = value.__name__ if isinstance(value, ModuleType) else value.__module__
    said = f"{module} {getattr(value, '__qualname__', '')}"
    own = own_modules(module) if module in sys.modules and is_own(module) else {}
    return " ".join([said, *(sha256_of(path) for _, path in sorted(own.items()))])


def enumerated(values: Any) -> Iterator[tuple[str, Any]]:
    """Values by their places, as text."""
    return ((str(place), value) for place, value in enumerate(values))
