"""Running an unpacked bundle again, in a process of its own: `python -m flowsim.archive.rerun BUNDLE OUT WORKERS`.

If they are trusted, its working folder is that of the bundle's policies, where they are found as in the folder in which
they were written; else it is an empty one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flowsim.archive.manifest import CONFIG, MANIFEST, RESULTS, Manifest, Results, compared_policies
from flowsim.errors import InputError
from flowsim.io import documents
from flowsim.io.folders import leads_somewhere
from flowsim.io.parquet import write_rows
from flowsim.io.progress import bar
from flowsim.results.result import RunResult
from flowsim.runs.bound import bound_to_state
from flowsim.runs.compare import Comparison, folder_of
from flowsim.runs.digests import policy_digest
from flowsim.runs.options import files, value_of, with_values
from flowsim.runs.options_file import parsed_options
from flowsim.runs.prepare import prepare
from flowsim.runs.run import execute
from flowsim.studies.store import SEALED, STUDY, sealed_rows, study_text
from flowsim.studies.study import Study
from flowsim.studies.sweep import plain_form, sweep

REFUSED = 2
"""The exit status when something in the bundle is wrong; stdout then says what."""
PLACES = ("trace", "cost", "model", "gpu", "tp", "pinned")
"""The entries of a config that say where things are found and what they were then: they stay as they were."""


def rerun(root: Path, out: Path, workers: int) -> None:
    """Make the results of an unpacked bundle again, in the folder `out`. InputError: what it holds cannot be run."""
    manifest, results = Manifest.read(root / MANIFEST), Results.read(root / RESULTS)
    places = {name: str(root / place) for name, place in manifest.places.items()}
    for name, digest in manifest.policies.items():
        if policy_digest(name) != digest:
            raise InputError(f"policy {name!r}", "is found elsewhere, with another source than the bundle's")
    if results.study is not None:
        _study(results, results.study, places, out, workers)
    elif results.kind == "run":
        _run(results.folder, places).save(out)
    else:
        Comparison(dict(_compared(results, places))).save(out)


def _run(folder: Path, places: Mapping[str, str]) -> RunResult:
    """The run whose config lies in this folder; its own config names the same places."""
    options = parsed_options(folder / CONFIG)
    named = {path: _placed(value_of(options, path), places) for path in files()}
    ready = prepare(with_values(options, named))
    result = execute(ready, bounding=bound_to_state(ready))
    written = documents.mapping(folder / CONFIG)
    return replace(result, config={**result.config, **{name: written[name] for name in PLACES if name in written}})


def _compared(results: Results, places: Mapping[str, str]) -> Iterator[tuple[str, RunResult]]:
    """The results of a comparison by the names of their policies, in order."""
    for name in compared_policies(results.folder):
        yield name, _run(results.folder / folder_of(name), places)


def _study(results: Results, study: Study, places: Mapping[str, str], out: Path, workers: int) -> None:
    """All points of a study; its rows and its study.yaml name the same places."""

    def placed(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: _placed(value, places) if name in files() else value for name, value in values.items()}

    axes = {name: tuple(placed({name: value})[name] for value in values) for name, values in study.axes.items()}
    here = replace(study, base=placed(study.base), axes=axes, listed=tuple(map(placed, study.listed)))
    with bar("running again") as progress:
        sweep(here, out, workers=workers or None, progress=progress)
    names = {row["key"]: row for row in sealed_rows(results.folder, ["key", *files()])}
    write_rows(out / SEALED, lambda: ({**row, **names.get(row["key"], {})} for row in sealed_rows(out)))
    (out / STUDY).write_text(study_text(plain_form(study)), encoding="utf-8")


def _placed(name: Any, places: Mapping[str, str]) -> Any:
    """Where the file or folder of this name lies in the bundle; any other text is returned as it is.

    Raises:
        InputError: it is the name of a file or folder that is not in the bundle.
    """
    if not isinstance(name, str):
        return name
    if name in places:
        return places[name]
    if Path(name).is_absolute() or leads_somewhere(name):
        raise InputError(name, "is not in the bundle")
    return name


def main() -> None:
    """What the process does."""
    root, out, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    try:
        rerun(root, out, workers)
    except InputError as error:
        print(error)
        sys.exit(REFUSED)


if __name__ == "__main__":
    main()
