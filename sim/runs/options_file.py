"""A file with the options of a run, as `flowsim run --out` writes them into config.yaml: reading it."""

from __future__ import annotations

import warnings
from pathlib import Path

from flowsim.errors import ChangedInputs, InputError
from flowsim.io import documents
from flowsim.io.folders import path_of
from flowsim.runs.options import PINNED, RunOptions, from_values

VERSIONS = ("flowsim", "source", "numpy", "python")
"""What every config that flowsim wrote pins, last."""


def read_options(path: str | Path) -> RunOptions:
    """The options in a YAML file, as `flowsim run --out` writes them into config.yaml.

    Raises:
        InputError: it names the file and the line; also if its pins are not whole.

    Warns:
        ChangedInputs: the file pins nothing. One that flowsim wrote ends with its pins: the end of it is missing.
    """
    read = parsed_options(path)
    if not read.pinned:
        problem = "pins no trace, table or version; if flowsim wrote it, its end is missing"
        warnings.warn(f"{path}: {problem}", ChangedInputs, stacklevel=2)
    return read


def place_of(path: str | Path, option: str) -> str:
    """Where a file of options holds one: the file, its line and its path."""
    return f"{_place(path, documents.located(path_of(path, 'path')), option)}: {option}"


def _place(path: str | Path, document: documents.Document, option: str) -> str:
    line = document.lines.get((option,)) or document.lines.get(tuple(option.split(".")))
    return f"{path}: line {line}" if line else str(path)


def parsed_options(path: str | Path) -> RunOptions:
    """The options in a YAML file, with or without pins. InputError as `read_options` raises it."""
    document = documents.located(path_of(path, "path"), "a mapping of the options of a run")
    values = document.values
    if not isinstance(values, dict):
        raise InputError(str(path), found=values, expected="a mapping of the options of a run")
    if {"run", "axes", "points"} & set(values):
        raise InputError(str(path), "is a study", expected="the options of one run (flowsim sweep runs a study)")
    try:
        read = from_values(values)
    except InputError as error:
        option = error.where or str(error.found)
        raise error.within(_place(path, document, option)) from None
    if read.pinned and (missing := [name for name in VERSIONS if name not in read.pinned]):
        raise InputError(f"{path}: {PINNED}", f"lacks {', '.join(missing)}", expected="the file as flowsim wrote it")
    return read
