"""Digests of what a run reads (files, tables, policies), each worked out once for as long as the files stay."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path

import flowsim
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.errors import InputError
from flowsim.io.folders import Stamp, stamp_of
from flowsim.io.sha256 import sha256_of
from flowsim.policies.registry import PolicySpec, policy_class, policy_module
from flowsim.runs.own_modules import own_modules
from flowsim.runs.own_sources import MAIN, main_sources

_imported: dict[str, tuple[ModuleSpec | None, str]] = {}
"""Of each module of the user's own that a policy needs: the import of it that was seen last, and its file's digest."""


@lru_cache(maxsize=64)
def file_digest(path: str, stamp: Stamp) -> str:
    """SHA-256 of a file's content, in hexadecimal; `stamp` is the file's."""
    return sha256_of(Path(path))


def cost_digest(folder: str | None, model: str, gpu: str, tp: int) -> str:
    """Of the table in this folder or, without one, of the table of this name."""
    try:
        return (load_table(gpu, model, tp) if folder is None else OperatorTable.load(folder)).digest()
    except InputError as error:  # the run will say so
        return str(error)


@cache
def policy_digest(name: str) -> str:
    """Of the sources of a policy that flowsim does not ship: of its file, and of the modules of the user's own that it
    imports (`own_modules`); or of its class in a notebook and of what that uses (`main_sources`).

    Worked out once for each study or run, as `policy_digest.cache_clear` begins one.

    Raises:
        InputError: the policy cannot be found, a notebook's source cannot be read, or a file has changed since this
            process imported it, so that a run would not be of its source.
    """
    spec = PolicySpec(name)
    if spec.shipped:
        return ""
    module = policy_module(spec)
    if module.__name__ == MAIN:
        return _digest(main_sources(name, policy_class(spec)))
    digests = {each: file_digest(str(file), stamp_of(file)) for each, file in policy_files(name).items()}
    for each, digest in digests.items():
        if each in sys.modules:
            now = sys.modules[each].__spec__, digest
            spec_then, digest_then = _imported.setdefault(each, now)
            if spec_then is now[0] and digest_then != digest:
                expected = "a new process, or of a notebook a restarted kernel"
                raise InputError(f"policy {name!r}", f"{each} has changed since it was imported", expected=expected)
            _imported[each] = now
    return _digest(digests)


def policy_files(name: str) -> dict[str, Path]:
    """The files of a policy of the user's own by module: its module's, and those of what it imports of the user's."""
    module = name.partition(":")[0]
    source = inspect.getsourcefile(policy_module(PolicySpec(name))) if module != MAIN else None
    return own_modules(module) or ({} if source is None else {module: Path(source)})


def policy_source(name: str) -> str | type:
    """What other processes need to run a policy from the same source, see `use_source`."""
    if name.partition(":")[0] == MAIN:
        return policy_class(PolicySpec(name))
    return policy_digest(name)


def use_source(name: str, source: str | type) -> None:
    """Make this process run a policy from the source that another has.

    Args:
        name: of the policy.
        source: of a class in that process's `__main__` the class itself; else the digest of the policy's files, which
            are imported again if this process has imported others.

    Raises:
        InputError: the files are others, as they have changed since the study began.
    """
    if isinstance(source, type):
        setattr(sys.modules[MAIN], source.__name__, source)
        return
    policy_digest.cache_clear()
    try:
        found = policy_digest(name)
    except InputError:
        found = ""
    if found == source:
        return
    for module in policy_files(name):
        sys.modules.pop(module, None)
    policy_digest.cache_clear()
    if policy_digest(name) != source:
        raise InputError(f"policy {name!r}", "has changed since the study began", expected="the study, begun again")


@cache
def package_digest() -> str:
    """Of flowsim's own modules, by name: the same however it is installed."""
    digests = {}
    for name in ("", *flowsim.PACKAGES):
        (folder,) = import_module(f"flowsim.{name}".rstrip(".")).__path__
        for path in Path(folder).rglob("*.py") if name else Path(folder).glob("*.py"):
            place = f"{name}/{path.relative_to(folder).as_posix()}"
            digests[place] = sha256_of(path)
    return _digest(digests)


def _digest(parts: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
