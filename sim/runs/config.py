"""The config.yaml that a result leaves: the same run again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from flowsim.core.server import ServerOptions
from flowsim.core.slo import SLOMix
from flowsim.errors import InputError, unknown
from flowsim.io.documents import UniqueKeys
from flowsim.runs.run import run

YAML_TYPES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    dict: "a mapping",
    list: "a list",
    NoneType: "null",
}
"""What YAML calls the types that the values of a config.yaml may have."""


def read_config(path: str | Path) -> dict[str, Any]:
    """The arguments of `run` in a config.yaml that a result left.

    Raises:
        InputError: no such file, not YAML, a key twice, or one that `run` does not have.
    """
    try:
        values = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=UniqueKeys)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    except InputError as error:
        raise InputError(f"{path}, {error}") from None
    if not isinstance(values, dict) or "trace" not in values:
        raise InputError(f"{path}: allowed is a mapping with at least the key trace, as --out writes it")
    server = values.get("server") or {}
    try:
        _check_types("key", values, run, leave_out=("progress", "events"))
        _check_types("key of server", server, ServerOptions)
        if isinstance(values.get("slo"), dict):
            values["slo"] = SLOMix.from_dict(values["slo"])
        return {**values, "server": ServerOptions(**server), "window": _window(values.get("window"))}
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _check_types(what: str, values: Mapping[str, Any], of: Callable[..., Any], leave_out: Sequence[str] = ()) -> None:
    """Raise `InputError` unless YAML could mean these values as arguments of this function."""
    known = {name: hint for name, hint in get_type_hints(of).items() if name not in (*leave_out, "return")}
    for key, value in values.items():
        if key not in known:
            raise unknown(what, str(key), known)
        kinds = _yaml_types(known[key])
        if type(value) not in kinds:
            names = [YAML_TYPES[kind] for kind in YAML_TYPES if kind in kinds - ({int} if float in kinds else set())]
            raise InputError(f"{key} is {value!r}, allowed is {' or '.join(names)}")


def _yaml_types(hint: Any) -> set[type]:
    """What stands in YAML for a value of this type: a mapping for an SLO mix or a server, a list for a window."""
    hints = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    stands_for = {SLOMix: dict, ServerOptions: dict, float: int}
    kinds = {get_origin(one) or one for one in hints}
    return kinds | {stands_for[kind] for kind in kinds & stands_for.keys()} | ({list} if tuple in kinds else set())


def _window(values: list[Any] | None) -> tuple[float, float] | None:
    if values is None:
        return None
    if len(values) != 2 or type(values[0]) not in (int, float) or type(values[1]) not in (int, float, NoneType):
        raise InputError(f"window is {values}, allowed is [from, to] in seconds, to may be null")
    return values[0], math.inf if values[1] is None else values[1]
