"""Commands that make results and bundles of them, in a folder of their own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

from flowsim.archive.zipped import pack

COMMANDS = {
    "run": "run data/trace.jsonl --cost table --slo slo.yaml --policy own_policy_:Mine",
    "comparison": "compare data/trace.jsonl --policy fcfs --policy own_policy_:Mine --policy chunked:512",
    "study": "sweep study.yaml --workers 1",
    "search": "capacity data/trace.jsonl --replications 1 --policy fcfs --workers 1",
    "shipped": "sweep shipped.yaml --workers 1",
}


def command(place: Path, line: str, *more: str) -> subprocess.CompletedProcess[str]:
    """What a command typed in this folder did."""
    environment = {**os.environ, "FLOWSIM_TABLES": str(place / "tables")}
    words = [sys.executable, "-m", "flowsim", *line.split(), *more]
    return subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, check=False)


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
