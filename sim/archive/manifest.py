"""What a bundle holds: where each thing lies in it, what it was made of, and the digest of every file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from flowsim.errors import InputError
from flowsim.io.documents import mapping
from flowsim.io.schema import build
from flowsim.runs.compare import folder_of
from flowsim.runs.options import RunOptions, files, value_of
from flowsim.runs.options_file import parsed_options
from flowsim.studies.point import Point
from flowsim.studies.store import JOURNAL, SEALED, STUDY
from flowsim.studies.study import Study

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
RESULTS, INPUTS, TABLES, POLICIES = "results", "inputs", "tables", "policies"
"""The folders of a bundle: the results, the files and folders that options name, tables of the user's by name, and the
files of policies by module."""
CONFIG, COMPARED = "config.yaml", "comparison.csv"
Kind = Literal["run", "comparison", "study"]


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """The manifest of a bundle.

    Attributes:
        kind: of the results.
        versions: of what they were made with, see `flowsim.runs.pins.versions`.
        places: where files and folders lie in the bundle, by the names that the results' options have for them.
        policies: digests of the sources of the user's own policies, by name.
        files: SHA-256 of every other file in the bundle, by name.
    """

    kind: Kind
    versions: Mapping[str, str]
    places: Mapping[str, str]
    policies: Mapping[str, str]
    files: Mapping[str, str]

    def to_bytes(self) -> bytes:
        """As a file."""
        values = {"schema_version": SCHEMA_VERSION, **msgspec.to_builtins(self)}
        return (json.dumps(values, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read it back. InputError: it is not one, or of another version."""
        values: dict[str, Any] = mapping(path, "the manifest of a bundle")
        version = values.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise InputError(f"{path.name}: schema_version", found=version, expected=str(SCHEMA_VERSION))
        manifest = build(cls, values, path.name)
        for name, place in manifest.places.items():
            if not manifest.holds(place):
                raise InputError(f"{path.name}: places: {name}", found=place, expected="a file or folder of the bundle")
        return manifest

    def holds(self, place: str) -> bool:
        """Whether a place is the name of one of the files, or of a folder in which some of them lie."""
        clean = bool(place) and not {"", ".", ".."} & set(place.split("/"))
        return clean and any(name == place or name.startswith(f"{place}/") for name in self.files)


def compared_policies(folder: Path) -> list[str]:
    """The policies of a comparison, in order. InputError: its table cannot be read, or names none."""
    path = folder / COMPARED
    try:
        with path.open(encoding="utf-8", newline="") as file:
            names = [row.get("policy") for row in csv.DictReader(file, strict=True)]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(str(path), f"cannot be read ({error})", expected="the table of a comparison") from None
    found = [name for name in names if name]
    if not found or len(set(found)) < len(names):
        raise InputError(str(path), "does not name the policies", expected="the table of a comparison")
    return found


@dataclass(frozen=True)
class Results:
    """A folder of results, and what its runs were made from.

    Attributes:
        folder: the folder.
        kind: whether it holds one run, a comparison or a study.
        configs: the options of each run, by the folder that it lies in; empty for a study.
        study: the study, if it is one.
    """

    folder: Path
    kind: Kind
    configs: Mapping[str, RunOptions]
    study: Study | None = None

    @classmethod
    def read(cls, folder: Path) -> Results:
        """Open a folder. InputError: it holds no whole results."""
        if (folder / STUDY).exists() and (folder / SEALED).exists() and not (folder / JOURNAL).exists():
            return cls(folder, "study", {}, Study.read(folder / STUDY))
        if (folder / COMPARED).exists():
            places = sorted(folder / folder_of(name) for name in compared_policies(folder))
            return cls(folder, "comparison", {place.name: parsed_options(place / CONFIG) for place in places})
        if (folder / CONFIG).exists():
            return cls(folder, "run", {".": parsed_options(folder / CONFIG)})
        expected = "what flowsim run, compare, sweep or capacity wrote with --out, whole"
        raise InputError(str(folder), "holds no results", expected=expected)

    def options(self) -> Iterator[RunOptions]:
        """The options of every run."""
        if self.study is None:
            yield from self.configs.values()
        else:
            yield from (Point.of(self.study.point(place)).options for place in range(len(self.study)))

    def policies(self) -> list[str]:
        """The specifications of all policies."""
        return list(dict.fromkeys(str(run.policy) for run in self.options()))

    def named(self) -> list[str]:
        """All that options which may name a file or folder are given as, in order."""
        values = (value_of(run, path) for run in self.options() for path in files())
        return list(dict.fromkeys(value for value in values if isinstance(value, str)))
