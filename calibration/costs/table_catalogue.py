"""The catalogue of operator tables, by GPU, model and tensor-parallel degree: those shipped and the user's own.

A GPU is what has a table: `flowsim calibrate` makes one of the user's; those in `calibration/data/` are shipped.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from platformdirs import user_data_path

from flowsim.calibration.costs.gpus import catalogue, meant, ways
from flowsim.calibration.costs.models import load_model
from flowsim.calibration.costs.table import OperatorTable
from flowsim.errors import InputError, unknown


class TableName(NamedTuple):
    """What a table is found by: the names of its GPU and model, and the tensor-parallel degree."""

    gpu: str
    model: str
    tp: int


def table_names() -> list[TableName]:
    """The names of all tables, shipped and the user's, sorted."""
    return sorted(_all_tables())


@cache
def shipped_tables() -> Mapping[TableName, Path]:
    """The folders of the tables that are shipped with the package."""
    return _tables_in(Path(str(resources.files("flowsim.calibration"))) / "data")


def user_tables() -> dict[TableName, Path]:
    """The folders of the user's own tables, under `user_root`."""
    return _tables_in(user_root())


def load_table(gpu: str, model: str, tp: int = 1) -> OperatorTable:
    """The table of this name; the user's comes before a shipped one. InputError names those that exist."""
    return OperatorTable.load(folder_of_table(gpu, model, tp))


def folder_of_table(gpu: str, model: str, tp: int) -> Path:
    """Where the table of this name is; the user's comes before a shipped one. InputError names those that exist."""
    tables, name = _all_tables(), TableName(gpu, model, tp)
    if name in tables:
        return tables[name]
    gpus = {other.gpu for other in tables}
    models = {other.model for other in tables if other.gpu == gpu}
    degrees = {str(other.tp) for other in tables if other[:2] == (gpu, model)}
    ours = f"one of them, or a table {ways(gpu, model, tp)}"
    if gpu not in gpus:
        raise _no_such_gpu(gpu, gpus, ours)
    called = load_model(model).name if Path(model).exists() else model.lower()
    if model not in models and called in models:
        raise InputError("model", f"unknown model {model!r} on {gpu}; did you mean {called!r}, which has a table?")
    if model not in models:
        raise unknown("model", model, models, f"on {gpu}", where="model", expected=ours)
    raise unknown("tp", str(tp), degrees, f"of {model} on {gpu}", where="tp", expected=ours)


def _no_such_gpu(gpu: str, gpus: Collection[str], ours: str) -> InputError:
    """The error for a GPU without a table: by another name of one that has one, or of one of the catalogue."""
    sheet = meant(gpu)
    if sheet is None or (gpu == catalogue()[sheet].public and sheet in gpus):
        return unknown("gpu", gpu, gpus, where="gpu", expected=ours)
    known = f"(known: {', '.join(sorted(gpus))})"
    if sheet in gpus:
        return InputError("gpu", f"unknown gpu {gpu!r}; did you mean {sheet!r}? {known}")
    return InputError("gpu", f"there is no table of {sheet} {known}", expected=ours)


def user_root() -> Path:
    """The folder of the user's tables, as GPU/MODEL/tpN: FLOWSIM_TABLES or, on Linux, ~/.local/share/flowsim/tables."""
    return Path(os.environ.get("FLOWSIM_TABLES") or user_data_path("flowsim", appauthor=False) / "tables")


def table_folder(gpu: str, model: str, tp: int) -> Path:
    """The folder of the user's table of this name, whether it exists or not."""
    return user_root() / gpu / model / f"tp{tp}"


def _all_tables() -> Mapping[TableName, Path]:
    return {**shipped_tables(), **user_tables()}


def _tables_in(root: Path) -> dict[TableName, Path]:
    found = {}
    for path in sorted(root.glob("*/*/tp*/provenance.yaml")):
        gpu, model, degree = path.parent.relative_to(root).parts
        if degree.removeprefix("tp").isdecimal():
            found[TableName(gpu, model, int(degree.removeprefix("tp")))] = path.parent
    return found
