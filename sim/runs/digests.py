"""Digests of what a run reads (files, tables, policies), each worked out once for as long as the files stay."""

from __future__ import annotations

import hashlib
import json
from functools import cache, lru_cache
from pathlib import Path

from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.errors import InputError
from flowsim.io.folders import leads_somewhere
from flowsim.policies.registry import PolicySpec, source_file
from flowsim.runs.own_modules import own_modules

Stamp = tuple[tuple[int, int, int], ...]


def stamp_of(name: str | Path | None) -> Stamp:
    """When the file of this name, or those in the folder, were written: what was read of them is kept until then."""
    place = Path(name) if name else None
    if place is None or not leads_somewhere(place):
        return ()
    states = [path.stat() for path in (sorted(place.iterdir()) if place.is_dir() else [place])]
    return tuple((state.st_mtime_ns, state.st_size, state.st_ino) for state in states)


@lru_cache(maxsize=64)
def file_digest(path: str, stamp: Stamp) -> str:
    """SHA-256 of a file's content, in hexadecimal; `stamp` is the file's."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@lru_cache(maxsize=64)
def cost_digest(folder: str | None, stamp: Stamp, model: str, gpu: str, tp: int) -> str:
    """Of the table in this folder or, without one, of the table of this name; `stamp` is the folder's."""
    try:
        return (load_table(gpu, model, tp) if folder is None else OperatorTable.load(folder)).digest()
    except InputError as error:  # the run will say so
        return str(error)


@cache
def policy_digest(name: str) -> str:
    """Of the sources of a policy that flowsim does not ship: of its file, and of the modules of the user's own that it
    imports (`own_modules`); read once, as Python imports them once."""
    source = source_file(PolicySpec(name))
    if source is None:
        return ""
    files = own_modules(name.partition(":")[0]) or {name: Path(source)}
    digests = {module: file_digest(str(file), stamp_of(file)) for module, file in files.items()}
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
