"""`flowsim.reproduce`: the results in a bundle made again, and compared byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flowsim.archive.manifest import MANIFEST, POLICIES, RESULTS, TABLES, Manifest, Results
from flowsim.archive.rerun import REFUSED
from flowsim.archive.zipped import unpack
from flowsim.errors import InputError
from flowsim.io.folders import path_of
from flowsim.io.sha256 import sha256_of
from flowsim.policies.registry import check_shipped
from flowsim.runs.pins import changed_inputs, versions

State = Literal["same", "differs", "damaged", "missing", "not run again"]
BAD = ("differs", "damaged", "missing")


@dataclass(frozen=True)
class Reproduction:
    """What came of running a bundle again.

    Attributes:
        files: of each file of the results, whether its bytes are the same; "not run again" is a file that no run
            writes, such as a figure of flowsim plot. If a file of the bundle is damaged, nothing is run, and these are
            the damaged ones.
        versions: what the results were made with and is another here: "numpy (found 2.4.6, pinned 2.1.0)", or "".
    """

    files: Mapping[str, State]
    versions: str

    @property
    def same(self) -> bool:
        """Whether no file differs, is damaged or missing."""
        return not any(state in BAD for state in self.files.values())


def reproduce(
    bundle: str | Path, *, trust_policies: bool = False, workers: int | None = None, quiet: bool = True
) -> Reproduction:
    """Unpack a bundle in a temporary folder, verify its digests, run it again and compare the bytes of all results.

    Args:
        bundle: the archive that `flowsim.bundle` wrote.
        trust_policies: whether code of policies in the bundle may be run. Nothing keeps it from doing harm.
        workers: processes for a study; default: one per core.
        quiet: show no progress.

    Raises:
        InputError: no whole bundle; an archive of more than 100,000 files or 16 GiB, or that grows 250 times; a name in
            it that leads outside; policies of its own, unless they are trusted; or options that cannot be run.
    """
    path = path_of(bundle, "bundle")
    with tempfile.TemporaryDirectory(prefix="flowsim-") as folder:
        root = Path(folder, "bundle")
        root.mkdir()
        found = unpack(path, root)
        manifest = _read(path, root)
        changed = changed_inputs(manifest.versions, versions())
        if damaged := _damaged(manifest, found):
            return Reproduction(dict.fromkeys(damaged, "damaged"), changed)
        try:
            results = Results.read(root / RESULTS)
        except InputError as error:
            raise InputError(str(path), "holds no whole results") from error
        if not trust_policies:
            _check_holds_no_code(path, root, [*results.policies(), *manifest.policies])
        place = root / POLICIES if trust_policies else Path(folder, "empty")
        place.mkdir(exist_ok=True)
        _run_again(path, root, place, Path(folder, "again"), workers, quiet)
        return Reproduction(_compared(root / RESULTS, Path(folder, "again")), changed)


def _read(path: Path, root: Path) -> Manifest:
    if not (root / MANIFEST).is_file():
        raise InputError(str(path), f"has no {MANIFEST}", expected="an archive that flowsim bundle wrote")
    try:
        return Manifest.read(root / MANIFEST)
    except InputError as error:
        raise error.within(str(path)) from None


def _damaged(manifest: Manifest, found: Mapping[str, str]) -> list[str]:
    """The files whose digest is not that of the manifest, or that only one of them knows."""
    held = {name: digest for name, digest in found.items() if name != MANIFEST}
    names = sorted(held.keys() | manifest.files.keys())
    return [name for name in names if held.get(name) != manifest.files.get(name)]


def _check_holds_no_code(path: Path, root: Path, policies: Iterable[str]) -> None:
    """InputError: the bundle names policies that flowsim does not ship, or holds files of policies."""
    check_shipped(policies, str(path))
    if (root / POLICIES).exists():
        problem = f"holds files in {POLICIES}/, though all its policies are shipped"
        raise InputError(str(path), problem, expected="--trust-policies (in Python: trust_policies=True) to use them")


def _run_again(path: Path, root: Path, place: Path, out: Path, workers: int | None, quiet: bool) -> None:
    """Make the results again in another process, in which our imports, tables and working folder do not count."""
    environment = {**os.environ, "FLOWSIM_TABLES": str(root / TABLES), "PYTHONSAFEPATH": "1"}
    searched = environment.pop("PYTHONPATH", "").split(os.pathsep)
    if fixed := [entry for entry in searched if Path(entry).is_absolute()]:
        environment["PYTHONPATH"] = os.pathsep.join(fixed)
    command = [sys.executable, "-m", "flowsim.archive.rerun", str(root), str(out), str(workers or 0)]
    errors = subprocess.DEVNULL if quiet else None
    options = {"cwd": place, "env": environment, "text": True}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, check=False, **options)  # type: ignore[call-overload]
    if done.returncode == REFUSED:
        raise InputError(str(path), done.stdout.strip())
    if done.returncode:
        raise InputError(str(path), f"its run ended with exit status {done.returncode}")


def _compared(results: Path, again: Path) -> dict[str, State]:
    """Of each file in either folder, whether it is the same in both."""
    held, made = (
        {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        for folder in (results, again)
    )
    return {name: _state(held.get(name), made.get(name)) for name in sorted(held | made)}


def _state(held: Path | None, made: Path | None) -> State:
    if made is None:
        return "not run again"
    if held is None:
        return "missing"
    return "same" if sha256_of(held) == sha256_of(made) else "differs"
