"""Commands that make results and bundles of them, in a folder of their own."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import zipfile
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path
from unittest.mock import patch

from click.testing import Result

from flowsim.archive.zipped import pack
from support.cli import invoke

COMMANDS = {
    "run": "run data/trace.jsonl --cost table --slo slo.yaml --policy own_policy_:Mine",
    "comparison": "compare data/trace.jsonl --policy fcfs --policy own_policy_:Mine --policy chunked:512",
    "study": "sweep study.yaml --workers 1",
    "search": "capacity data/trace.jsonl --replications 1 --policy fcfs --workers 1",
    "shipped": "sweep shipped.yaml --workers 1",
}
OWN_MODULES = ("own_policy_", "own_helper_")


def command(place: Path, line: str, *more: str) -> Result:
    """What a command typed in this folder did; the modules of its policies are forgotten afterwards."""
    searched = sys.path.copy()
    try:
        with chdir(place), patch.dict(os.environ, FLOWSIM_TABLES=str(place / "tables")):
            return invoke(*line.split(), *more)
    finally:
        sys.path[:] = searched
        for name in OWN_MODULES:
            sys.modules.pop(name, None)


def files_in(folder: Path) -> list[str]:
    """The names of all files in a folder, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def rewritten(archive: Path, changes: Mapping[str, bytes], *, known: bool) -> Path:
    """An archive with other contents of some files, which its manifest may know."""
    with zipfile.ZipFile(archive) as old:
        files = {name: old.read(name) for name in old.namelist()} | changes
    manifest = json.loads(files["manifest.json"])
    if known:
        manifest["files"] |= {name: hashlib.sha256(content).hexdigest() for name, content in changes.items()}
        files["manifest.json"] = json.dumps(manifest).encode()
    pack(archive, files)
    return archive
