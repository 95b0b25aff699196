"""The operator table of a validation: one that is given, that of the evidence, or one measured here and now."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.fit import fit
from flowsim.calibration.costs.models import load_model
from flowsim.calibration.costs.pass_costs import check_recorded
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.calibration.gpu_engine.warm_up import UNSERVABLE
from flowsim.calibration.measure.calibrate import calibrate
from flowsim.calibration.measure.grid import QUICK, REPLAYED
from flowsim.errors import InputError
from flowsim.io.folders import check_writable
from flowsim.io.progress import Progress
from flowsim.validation.plan import Plan

OTHER_FOLDER = "a new folder (flowsim validate DIR DIR shows several together)"
TABLE = "table"
"""Its folder in the evidence."""


@dataclass(frozen=True)
class TableChoice:
    """Which operator table a validation simulates with.

    Attributes:
        gpu: the shipped or imported one of this name.
        cost: the one in this folder. With neither, the model is measured.
        coarse: measure fewer sizes.
        device: where to measure: "cuda" or "cpu".
        progress: of the measuring.
    """

    gpu: str | None = None
    cost: str | Path | None = None
    coarse: bool = False
    device: str = "cuda"
    progress: Progress | None = None


def table_of(root: Path, plan: Plan, choice: TableChoice) -> OperatorTable:
    """The operator table: the one given, that of the evidence in `root`, or one measured now, which is kept there.

    Raises:
        InputError: there is no such table, the evidence has another, or a server cannot use its attention kernels.
    """
    known = OperatorTable.load(root / TABLE) if (root / TABLE).is_dir() else None
    if choice.cost is None and choice.gpu is None:
        return _measured(root, plan, choice) if known is None else known
    table = _given(plan, choice)
    if known is not None and known.digest() != table.digest():
        raise InputError(str(root), "holds evidence with another operator table", expected=OTHER_FOLDER)
    return table


def table_costs(plan: Plan, table: OperatorTable) -> CostModel:
    """The cost model of a table. InputError: the plan cannot be run with it."""
    if table.provenance.rank().spec != load_model(plan.run.model):
        raise InputError(
            "model", found=plan.run.model, expected=f"that of the operator table, {table.provenance.model}"
        )
    costs = fit(table)
    if costs.tp != 1:
        raise InputError("tp", found=costs.tp, expected="1, as there is one GPU")
    check_recorded(costs, plan.run.server)
    return costs


@contextmanager
def saved(table: OperatorTable, root: Path) -> Iterator[Path]:
    """The folder of a table: that of the evidence in `root`, or a temporary one until there is a run to keep."""
    if (root / TABLE).is_dir():
        yield root / TABLE
        return
    with tempfile.TemporaryDirectory(prefix=".flowsim-") as folder:
        table.save(Path(folder) / TABLE)
        yield Path(folder) / TABLE


def _given(plan: Plan, choice: TableChoice) -> OperatorTable:
    model = plan.run.model
    table = OperatorTable.load(choice.cost) if choice.cost is not None else load_table(choice.gpu or "", model)
    unserved = {row.backend for row in table.operators if row.operator == "attention"}.intersection(UNSERVABLE)
    if unserved:
        problem = f"has attention measured with {', '.join(unserved)}, which stalls a server at every new length"
        expected = "neither --gpu nor --cost, so that the model is measured here"
        raise InputError(f"{table.provenance.gpu}/{model}", problem, expected=expected)
    return table


def _measured(root: Path, plan: Plan, choice: TableChoice) -> OperatorTable:
    """The model, measured on the GPU at hand; an interrupted measurement goes on from its journal."""
    journal = Path(f"{root}.journal")
    check_writable(journal.parent)
    options: dict[str, Any] = {"seed": plan.run.seed, "progress": choice.progress, "journal": journal}
    grid = QUICK if choice.coarse else REPLAYED
    table = calibrate(load_model(plan.run.model), grid=grid, device=choice.device, without=UNSERVABLE, **options)
    table.save(root / TABLE)
    journal.unlink(missing_ok=True)
    return table
