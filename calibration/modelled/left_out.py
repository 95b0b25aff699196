"""Writes `calibration/data/modelled`: the errors of modelled tables, by leaving out what was measured.

`python -m flowsim.calibration.modelled.left_out FOLDER` needs the package aiconfigurator-core.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import yaml

from flowsim.calibration.costs.accuracy import pass_residuals
from flowsim.calibration.costs.fit import fit, fit_passes
from flowsim.calibration.costs.gpus import catalogue
from flowsim.calibration.costs.import_factors import SIZES, corrected
from flowsim.calibration.costs.models import ModelSpec, load_model, model_names
from flowsim.calibration.costs.pass_kinds import LONG_PROMPT, SHORT_PROMPT
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import load_table, shipped_tables
from flowsim.calibration.modelled.accuracy import ALL, Error, LeftOut, model_kind
from flowsim.calibration.modelled.table import measured_tables, modelled_table
from flowsim.calibration.published.aiconfigurator import Source, package_source
from flowsim.calibration.published.importer import import_table
from flowsim.calibration.published.nearest_table import nearest_own
from flowsim.errors import InputError

BINS: Mapping[str, tuple[int, float]] = {
    "1-1023": (1, 1024), "1024-2047": (1024, 2048), "2048-4095": (2048, 4096), "4096-8191": (4096, 8192),
    "8192-": (8192, np.inf), ALL: (1024, np.inf),
}  # fmt: skip
"""Sizes of whole prompts, in tokens: from the first, below the second."""

FIELDS = ("left_out", "gpu", "model", "kind", "tokens", "prompts", "median", "max", "bias")
FRAMEWORK = "vllm"
"""Of the imported kernels."""

Prompts = list[tuple[int, float]]
"""Whole prompts: tokens, and the relative error."""


def against_measured(truth: OperatorTable, tables: Sequence[OperatorTable]) -> Prompts:
    """How far the table that is modelled from these differs from a measured one, at its whole prompts."""
    rank = truth.provenance.rank()
    made = modelled_table(rank.spec, rank.gpu, catalogue()[rank.gpu], tables)
    costs = fit_passes(made.stating(pass_layers=truth.provenance.layers_of_passes()))
    residuals = pass_residuals(costs, truth)
    return [(row.shape[0][0], error) for row, kind, error in residuals if kind in (LONG_PROMPT, SHORT_PROMPT)]


def against_import(spec: ModelSpec, gpu: str, source: Source) -> Prompts:
    """How far a modelled table differs from an import that is corrected by how fast imports were elsewhere."""
    made = modelled_table(spec, gpu, catalogue()[gpu], measured_tables(spec, gpu))
    truth = corrected(import_table(source, spec, nearest_own(spec, source.system)))
    ours, theirs = ([fit(table).forward_s(n) for n in SIZES] for table in (made, truth))
    return [(n, a / b - 1) for n, a, b in zip(SIZES, ours, theirs, strict=True)]


def measured_prompts() -> Iterator[tuple[LeftOut, str, ModelSpec, Prompts]]:
    """Every shipped table of a whole model, modelled without its GPU, without its model, and without both."""
    tables = {name: load_table(*name) for name in shipped_tables()}
    for name, truth in tables.items():
        for gpu in sorted({other.gpu for other in tables}) if name.tp == 1 else ():
            there = {other: table for other, table in tables.items() if other.gpu == gpu}
            others = [table for other, table in there.items() if other.model != name.model]
            cases: dict[LeftOut, list[OperatorTable]] = {"model" if gpu == name.gpu else "both": others}
            if gpu != name.gpu and len(others) < len(there):
                cases["gpu"] = list(there.values())
            for left_out, source in cases.items():
                with suppress(InputError):  # no model there has its operators
                    yield left_out, name.gpu, truth.provenance.rank().spec, against_measured(truth, source)


def imported_prompts() -> Iterator[tuple[LeftOut, str, ModelSpec, Prompts]]:
    """Every model on every GPU of which there are public measurements alone."""
    for gpu, source in imported().items():
        for model in model_names():
            with suppress(InputError):  # this model's experts, or its number of heads, were not measured there
                yield "import", gpu, load_model(model), against_import(load_model(model), gpu, source)


def imported() -> dict[str, Source]:
    """The public measurements of the GPUs that have no others."""
    measured = {name.gpu for name in shipped_tables()}
    public = {gpu: sheet.public for gpu, sheet in catalogue().items() if gpu not in measured}
    return {gpu: package_source(system, FRAMEWORK) for gpu, system in public.items() if system}


def errors_of(left_out: LeftOut, gpu: str, spec: ModelSpec, prompts: Prompts) -> Iterator[Error]:
    """One row for each range of sizes."""
    for tokens, (low, high) in BINS.items():
        errors = np.array([error for n, error in prompts if low <= n < high])
        if errors.size:
            figures = (float(np.median(abs(errors))), float(abs(errors).max()), float(np.median(errors)))
            shares = (round(share, 4) for share in figures)
            yield Error(left_out, gpu, spec.name, model_kind(spec), tokens, errors.size, *shares)


def write(folder: Path) -> None:
    """Write errors.csv and provenance.yaml."""
    rows = [error for prompts in (*measured_prompts(), *imported_prompts()) for error in errors_of(*prompts)]
    about = {
        "what": "relative errors of modelled tables at whole prompts, by what they were modelled without",
        "imported": [source.name for source in imported().values()],
        "licence": "Apache-2.0",
        "measured": {"/".join(map(str, name)): load_table(*name).digest() for name in shipped_tables()},
    }
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(FIELDS)
    writer.writerows(rows)
    folder.mkdir(exist_ok=True)
    (folder / "errors.csv").write_text(out.getvalue(), encoding="utf-8")
    (folder / "provenance.yaml").write_text(yaml.safe_dump(about, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
