"""What an operator table says of itself: of which model it is, and where and how it was measured. Plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

import yaml

from flowsim.errors import InputError
from flowsim.io.documents import UniqueKeys
from flowsim.io.schema import fits, said

TYPES: Mapping[str, Any] = {
    "notes": Sequence[str],
    "leave_one_out": Mapping[str, Mapping[str, float]],
    "all_reduce": Mapping[str, Any],
    "cells": Mapping[str, Mapping[str, int]],
    "gpu_id": str | None,
    "calls": Mapping[str, int],
    "memory_bytes": int,
    "multiprocessors": int | None,
    **dict.fromkeys(("sha256", "error", "measured"), NoneType),  # which a fit works out
}
"""Types of what is used unseen, where it is stated at all; what a fit needs, it checks."""


def load_provenance(path: Path, version: int) -> Mapping[str, Any]:
    """Read a provenance of this version of tables. InputError names the file and the field that is wrong."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=UniqueKeys)
    except InputError as error:
        raise InputError(f"{path}, {error}") from None
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read: {reason}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: found {type(values).__name__}; allowed: a mapping")
    found = values.get("schema_version")
    if found != version:
        cure = "update flowsim" if type(found) is int and found > version else "measure it again"
        raise InputError(f"{path}, schema_version: found {found!r}; allowed: {version} ({cure})")
    for key, hint in TYPES.items():
        if key in values and not fits(values[key], hint):
            raise InputError(f"{path}, {key}: found {values[key]!r:.60}; allowed: {said(hint)}")
    try:
        as_text(values)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: found what JSON cannot hold ({error}); allowed: names with plain values") from error
    return values


def as_text(provenance: Mapping[str, Any]) -> str:
    """It in one line, the same for equal ones."""
    return json.dumps(dict(provenance), sort_keys=True, default=str)
