"""`flowsim.doctor`: what is installed, what was found, and what is missing for what."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from flowsim.calibration.costs.table_catalogue import TableName, shipped_tables, user_root, user_tables
from flowsim.policies.catalogue import TABLE, installed

EXTRAS = {
    "calibrate": "to measure a GPU and to run traces on it",
    "import": "to import public measurements",
    "dask": "to run studies on a cluster",
    "notebook": "to work in Jupyter",
    "docs": "to build the documentation as a site",
}
"""The extras of flowsim that its users may want, and what for."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what it is.
        found: what was found, in words.
        remedy: what to type to get what is missing; empty if nothing is.
        needed: whether flowsim cannot work without it.
    """

    name: str
    found: str
    remedy: str = ""
    needed: bool = False


def doctor() -> list[Finding]:
    """Look at flowsim's versions, libraries, extras, GPU, tables of costs, policies and the user's data."""
    return [
        Finding("flowsim", f"{metadata.version('flowsim')} on Python {platform.python_version()}, {platform.system()}"),
        *libraries([Requirement(text) for text in metadata.requires("flowsim") or ()]),
        Finding("GPU", _gpus()),
        Finding("tables", _tables()),
        Finding("policies", _policies()),
        Finding("your data", f"{user_root()}{'' if user_root().exists() else ' (does not exist yet)'}"),
    ]


def libraries(requirements: Sequence[Requirement]) -> Iterator[Finding]:
    """The libraries that flowsim needs, then those of each extra that its users may want."""
    needed = [one for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})]
    lacking = [str(one) for one in needed if not _is_met(one)]
    remedy = f"pip install {' '.join(map(repr, lacking))}" if lacking else ""
    yield Finding("libraries", ", ".join(map(_said, needed)), remedy, needed=True)
    for extra, purpose in EXTRAS.items():
        wanted = [
            one for one in requirements if one not in needed and one.marker and one.marker.evaluate({"extra": extra})
        ]
        if wanted:
            remedy = "" if all(map(_is_met, wanted)) else f"pip install 'flowsim[{extra}]'"
            yield Finding(f"extra {extra}", f"{purpose}: {', '.join(map(_said, wanted))}", remedy)


def _is_met(requirement: Requirement) -> bool:
    version = _version(requirement)
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def _said(requirement: Requirement) -> str:
    version = _version(requirement)
    if version is None:
        return f"{requirement.name} is missing"
    lacks = "" if _is_met(requirement) else f" (needed: {requirement.specifier})"
    return f"{requirement.name} {version}{lacks}"


def _version(requirement: Requirement) -> str | None:
    try:
        return metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return None


def _gpus() -> str:
    """The GPUs that torch sees, in words."""
    try:
        import torch  # simulating needs none of it
    except ImportError:
        return "not looked for, without torch; simulating needs none"
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return ", ".join(names) or f"none that torch {torch.__version__} sees; simulating needs none"


def _policies() -> str:
    """How many policies there are, and which come from other packages, in words."""
    others = sorted(installed().keys() - TABLE.keys())
    return f"{len(TABLE)} of flowsim; of other packages: {', '.join(others) or 'none'}"


def _tables() -> str:
    """How many tables of costs there are, and on which GPUs, in words."""
    return f"{_counted(shipped_tables())} of flowsim; {_counted(user_tables())} of yours"


def _counted(tables: Mapping[TableName, Path]) -> str:
    gpus = sorted({name.gpu for name in tables})
    return f"{len(tables)} ({', '.join(gpus)})" if gpus else "0"
