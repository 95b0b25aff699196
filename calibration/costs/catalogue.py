"""The catalogue of operator tables: those shipped, and the user's, by GPU, model and tensor-parallel degree."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from shlex import quote

from flowsim.calibration.costs.table import OperatorTable
from flowsim.errors import InputError, unknown


def table_names() -> list[tuple[str, str, int]]:
    """The tables shipped and those in `user_tables`, as (gpu, model, tensor-parallel degree)."""
    return sorted(_found())


def load_table(gpu: str, model: str, tp: int = 1) -> OperatorTable:
    """The table of this GPU, model and tensor-parallel degree, shipped or imported; InputError names those there."""
    names = table_names()
    if gpu not in {n[0] for n in names}:
        how = f"flowsim calibrate import aiconfigurator --system {quote(gpu)}"
        raise InputError(f"{unknown('gpu', gpu, {n[0] for n in names})}; public measurements of others: {how}")
    if model not in {n[1] for n in names if n[0] == gpu}:
        raise unknown(f"model on {gpu}", model, {n[1] for n in names if n[0] == gpu})
    if (gpu, model, tp) not in names:
        raise unknown(f"tp of {model} on {gpu}", str(tp), {str(n[2]) for n in names if n[:2] == (gpu, model)})
    return OperatorTable.load(_found()[gpu, model, tp])


def user_tables() -> Path:
    """Where the user's tables lie, as GPU/MODEL/tpN: in FLOWSIM_TABLES, or in ~/.local/share/flowsim/tables."""
    return Path(os.environ.get("FLOWSIM_TABLES") or Path.home() / ".local" / "share" / "flowsim" / "tables")


def table_folder(gpu: str, model: str, tp: int) -> Path:
    """Where the user's table of this name lies, or would."""
    return user_tables() / gpu / model / f"tp{tp}"


def _found() -> dict[tuple[str, str, int], Path]:
    """The folders of all tables of models by name; the user's comes before a shipped one of the same name."""
    found = {}
    for root in (_data(), user_tables()):
        for path in sorted(root.glob("*/*/tp*/provenance.yaml")):
            gpu, model, tp = path.parent.relative_to(root).parts
            if tp.removeprefix("tp").isdecimal():
                found[gpu, model, int(tp.removeprefix("tp"))] = path.parent
    return found


def _data() -> Path:
    return Path(str(resources.files("flowsim.calibration"))) / "data"
