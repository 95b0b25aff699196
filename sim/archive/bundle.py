"""`flowsim.bundle`: results, and all that it takes to make them again, in one archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from flowsim.archive.manifest import INPUTS, MANIFEST, POLICIES, RESULTS, TABLES, Manifest, Results
from flowsim.archive.zipped import MOST_BYTES, MOST_FILES, pack
from flowsim.calibration.costs.table_catalogue import TableName, user_tables
from flowsim.errors import InputError
from flowsim.io.counts import number_of
from flowsim.io.folders import leads_somewhere, path_of
from flowsim.io.sha256 import sha256_of
from flowsim.results.saved_files import stored_summary
from flowsim.runs.digests import policy_digest, policy_files
from flowsim.runs.options import RunOptions
from flowsim.runs.own_sources import MAIN
from flowsim.runs.pins import changed_inputs, pins_of, versions
from flowsim.runs.prepare import prepare
from flowsim.studies.kept_requests import check_kept, keeps_requests
from flowsim.studies.store import sealed_keys
from flowsim.studies.sweep import keys_of, load_runs, plain_form

INPUT_PINS = ("trace", "cost", "policy")
"""The pins of what a run reads; the others are of what it ran on."""


def bundle(results: str | Path, out: str | Path) -> Path:
    """Pack results with what they were made of: traces, tables that are not shipped, SLO files and policies' sources.

    Args:
        results: the folder of a run, a comparison, a sweep or a search of max goodput.
        out: the archive, a zip file. The same results make the same bytes.

    Raises:
        InputError: no whole results, a run whose inputs have changed since, a policy that no file holds, an archive
            that exceeds the bounds of `flowsim.reproduce`, or that cannot be written.
    """
    folder, target = path_of(results, "results"), path_of(out, "out")
    if target.suffix != ".zip":
        raise InputError("out", found=str(out), expected="the name of a file that ends in .zip")
    found = Results.read(folder)
    names = dict.fromkeys(run.policy.name for run in found.options() if not run.policy.shipped)
    policies = {name: _digest(name) for name in names}
    made_with = _unchanged(found)
    places = {name: f"{INPUTS}/{n}/{Path(name).name}" for n, name in enumerate(_files_named(found))}
    files = dict(_files(found, places, list(policies), target))
    _check_size(files)
    digests = {name: sha256_of(path) for name, path in files.items()}
    manifest = Manifest(found.kind, made_with, places, policies, digests)
    pack(target, {**files, MANIFEST: manifest.to_bytes()})
    return target


def _digest(name: str) -> str:
    """Of the source of a policy that files hold."""
    if name.partition(":")[0] == MAIN:
        raise InputError(f"policy {name!r}", "is in no file that another process can import", expected="MODULE:CLASS")
    policy_digest.cache_clear()
    return policy_digest(name)


def _unchanged(results: Results) -> Mapping[str, str]:
    """The versions that results were made with. InputError: what they were made from has changed."""
    if results.study is not None:
        if sealed_keys(results.folder, plain_form(results.study)) != list(keys_of(results.study)):
            problem = "has failed runs, or a trace, table, SLO file, policy or version that has changed since"
            raise InputError(str(results.folder), problem, expected="results of a study that went well, as it is now")
        if keeps_requests(runs := load_runs(results.folder)):
            check_kept(runs, results.study.requests)
        return versions()
    for place, run in results.configs.items():
        if not run.pinned:
            raise InputError(str(results.folder / place), "has a config that pins nothing", expected="one as saved")
        stored_summary(results.folder / place)
        found = pins_of(prepare(run))
        pinned = {name: value for name, value in run.pinned.items() if name in INPUT_PINS}
        if said := changed_inputs(pinned, found):
            raise InputError(str(results.folder / place), f"was made from inputs that have changed since: {said}")
    run = next(iter(results.configs.values()))
    return {name: value for name, value in run.pinned.items() if name not in INPUT_PINS}


def _files(results: Results, places: Mapping[str, str], policies: list[str], out: Path) -> Iterator[tuple[str, Path]]:
    """Every file that goes into the archive, by its name there."""
    for path in _within(results.folder):
        if path.resolve() != out.resolve():
            yield f"{RESULTS}/{path.relative_to(results.folder).as_posix()}", path
    for name, place in places.items():
        yield from _packed(Path(name), place)
    for table, folder in _tables(results).items():
        yield from _packed(folder, f"{TABLES}/{table.gpu}/{table.model}/tp{table.tp}")
    for policy in policies:
        for module, path in policy_files(policy).items():
            *packages, last = module.split(".")
            inner = [last] if path.stem == "__init__" else []
            yield str(PurePosixPath(POLICIES, *packages, *inner, path.name)), path


def _packed(path: Path, place: str) -> Iterator[tuple[str, Path]]:
    """A file, or the files of a folder, at a place in the archive."""
    if path.is_file():
        yield place, path
    for inner in _within(path):
        yield f"{place}/{inner.relative_to(path).as_posix()}", inner


def _files_named(results: Results) -> list[str]:
    """The files and folders that options name: what is saved names them from the root."""
    return [name for name in results.named() if Path(name).is_absolute() and leads_somewhere(name)]


def _within(folder: Path) -> list[Path]:
    """The files in a folder at any depth, but for hidden ones."""
    inner = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in inner if not any(part[0] == "." for part in path.relative_to(folder).parts)]


def _tables(results: Results) -> dict[TableName, Path]:
    """The user's tables that runs found by name."""
    known = user_tables()
    wanted = dict.fromkeys(_table(run) for run in results.options() if run.cost is None)
    return {name: known[name] for name in wanted if name in known}


def _table(run: RunOptions) -> TableName:
    return TableName(run.gpu, run.model, run.tp)


def _check_size(files: Mapping[str, Path]) -> None:
    total = sum(path.stat().st_size for path in files.values())
    if len(files) >= MOST_FILES or total > MOST_BYTES:
        found = f"has {number_of(len(files), 'file')} of {total:,} bytes together"
        raise InputError("results", found, expected=f"< {MOST_FILES:,} files and <= {MOST_BYTES:,} bytes")
