"""Writes `calibration/data/imports`: by how much imported tables are fast where there is a measured one as well.

`python -m flowsim.calibration.published.factors FOLDER` needs the package aiconfigurator-core.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import yaml

from flowsim.calibration.costs.fit import fit
from flowsim.calibration.costs.import_factors import SIZES, ModelFactors
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import load_table, shipped_tables
from flowsim.calibration.published.aiconfigurator import FRAMEWORKS, Source, package_source
from flowsim.calibration.published.importer import import_table
from flowsim.errors import InputError

SYSTEMS = {"h100": "h100_sxm", "h200": "h200_sxm"}
"""The system in the public measurements of each GPU that has measured tables."""


def model_factors(source: Source, measured: OperatorTable) -> ModelFactors:
    """A measured table beside the import of the same model. InputError: the source lacks what the model needs."""
    rank = measured.provenance.rank()
    tables = measured, import_table(source, rank.spec, measured)
    ours, theirs = ([fit(table).forward_s(n) for n in SIZES] for table in tables)
    factors = tuple(round(a / b, 4) for a, b in zip(ours, theirs, strict=True))
    experts, weights = bool(rank.spec.experts), rank.spec.weights
    return ModelFactors(source.framework or "", rank.gpu, rank.model, experts, weights, factors)


def all_compared(sources: dict[str, Source]) -> Iterator[ModelFactors]:
    """Every shipped table of one GPU beside its import, where the sources have its model."""
    for name in shipped_tables():
        source = sources.get(name.gpu)
        if name.tp == 1 and source is not None:
            try:
                yield model_factors(source, load_table(*name))
            except InputError:  # experts that this framework was not measured with
                continue


def write(folder: Path) -> None:
    """Write factors.csv and provenance.yaml."""
    sources = {
        framework: {gpu: package_source(system, framework) for gpu, system in SYSTEMS.items()}
        for framework in FRAMEWORKS
    }
    rows = [one for tables in sources.values() for one in all_compared(tables)]
    about = {
        "what": "measured over imported time of whole prompts, by tokens",
        "imported": [source.name for tables in sources.values() for source in tables.values()],
        "licence": "Apache-2.0",
        "measured": {"/".join((gpu, model, "tp1")): load_table(gpu, model).digest() for _, gpu, model, *_ in rows},
        "date": datetime.now(UTC).date().isoformat(),
    }
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["framework", "gpu", "model", "experts", "weights", *SIZES])
    writer.writerows([*one[:3], "yes" if one.experts else "no", one.weights, *one.factors] for one in rows)
    (folder / "factors.csv").write_text(out.getvalue(), encoding="utf-8")
    (folder / "provenance.yaml").write_text(yaml.safe_dump(about, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
