"""The cost model of a run, and what a result says of it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import to_builtins
from numpy.typing import NDArray

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.fit import fit, lacks_all_reduces
from flowsim.calibration.costs.gpus import completed
from flowsim.calibration.costs.import_factors import corrected
from flowsim.calibration.costs.predictor import LONGEST_FITTED
from flowsim.calibration.costs.row_sources import counted
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import TableName, folder_of_table, load_table, table_names
from flowsim.core.summary import Inputs
from flowsim.errors import InputError
from flowsim.io.counts import number_of, percent
from flowsim.io.folders import Stamp, leads_somewhere, stamp_of
from flowsim.io.schema import PositiveCount, fitted
from flowsim.rendering.costs_text import error_text
from flowsim.runs.options import GPU, MODEL, RunOptions
from flowsim.traces.trace import Trace


def load_cost(
    folder: str | Path | None, model: str = MODEL, gpu: str = GPU, tp: int = 1, *, correct: bool = False
) -> CostModel:
    """The cost model fitted to the operator table in `folder`, or to the known one of this model and GPU.

    Args:
        folder: of a table; None for one that is known by the other names.
        model: the name of its model.
        gpu: the name of its GPU.
        tp: its tensor-parallel degree.
        correct: whether to multiply an imported table by how much longer prompts take where they were measured.

    Raises:
        InputError: there is no such table, an argument is of another type, or the table cannot be corrected.
    """
    for name, value in (("folder", folder), ("model", model), ("gpu", gpu)):
        if not isinstance(value, str | Path | None if name == "folder" else str):
            raise InputError(name, found=value, expected="text")
    tp = fitted(tp, PositiveCount, "tp")
    table = OperatorTable.load(folder) if folder is not None else load_table(gpu, model, tp)
    table = corrected(table) if correct else table
    where = str(folder or f"{gpu}/{model}/tp{tp}")
    if lacks_all_reduces(table):
        problem = f"is of one rank of {table.provenance.tp}, without all-reduces"
        how = (
            f"{completed(str(table.provenance.gpu), where)}, or the same without --public where there are as many GPUs"
        )
        raise InputError(where, problem, expected=how)
    try:
        cost = fit(table)
    except InputError as error:
        raise error.within(where) from error
    assert cost.provenance is not None
    place = None if folder is None else Path(anywhere(str(folder)))
    cost.provenance = replace(cost.provenance, folder=place, is_stored=True)
    return cost


def cost_of(options: RunOptions) -> CostModel:
    """The cost model that the options name, loaded once for as long as the files of its table stay as they are.

    Raises:
        InputError: as `load_cost` does.
    """
    try:
        place = folder_of_table(options.gpu, options.model, options.tp) if options.cost is None else options.cost
        state = anywhere(str(place)), stamp_of(place)
        return _kept(state, options.cost, options.model, options.gpu, options.tp, options.correct)
    except InputError as error:
        error.option = "" if options.cost else error.where
        raise


@lru_cache(maxsize=8)
def _kept(state: tuple[str, Stamp], folder: str | None, model: str, gpu: str, tp: int, correct: bool) -> CostModel:
    return load_cost(folder, model, gpu, tp, correct=correct)


def anywhere(source: str) -> str:
    """The name of a file or folder as it can be found from any folder; other names as they are."""
    return str(Path(source).resolve()) if leads_somewhere(source) else source


def file_name(source: str) -> str:
    """The name of a file without its folder; other names as they are."""
    return Path(source).name if leads_somewhere(source) else source


def costs_place(costs: CostModel) -> dict[str, Any]:
    """Where the costs can be found again: a folder, or the model, GPU and degree of a known table."""
    record = costs.provenance
    if record is None or not record.is_stored:
        return {"cost": f"{costs.name} (given in Python, in no table)"}
    rank = record.table.rank()
    folder = None if record.folder is None else str(record.folder)
    correct = {"correct": True} if record.table.corrected else {}
    return {"cost": folder, "model": rank.model, "gpu": rank.gpu, "tp": rank.tp, **correct}


def described(costs: CostModel) -> Inputs:
    """What a summary says of the costs: their kind and errors."""
    record = costs.provenance
    if record is None:
        return {
            "cost_model": costs.name,
            "cost_model_sha256": None,
            "cost_model_kind": None,
            "cost_model_stated_error": None,
            "cost_model_error": None,
            "cost_model_factors": None,
            "cost_model_leave_one_out": None,
        }
    return {
        "cost_model": costs.name,
        "cost_model_sha256": record.sha256,
        "cost_model_kind": record.table.kind,
        "cost_model_stated_error": record.stated_error,
        "cost_model_error": to_builtins(record.error),
        "cost_model_factors": None if record.factors is None else record.factors.stated(),
        "cost_model_leave_one_out": to_builtins(record.leave_one_out),
    }


def describe_models() -> list[tuple[str, str, int, str, str]]:
    """Every model, GPU and degree that has a table: GPU, model, degree, the kind of the table and its error."""
    return [(name.gpu, name.model, name.tp, *_listed(name)) for name in table_names()]


def _listed(name: TableName) -> tuple[str, str]:
    """The kind of a table, and its error in words."""
    try:
        table = load_table(*name)
    except InputError as error:
        return "", str(error)
    if lacks_all_reduces(table):
        how = completed(name.gpu, f"{name.gpu}/{name.model}/tp{name.tp}")
        return table.provenance.kind, f"one rank without all-reduces: {how}"
    try:
        return table.provenance.kind, error_of(table)
    except InputError as error:
        return table.provenance.kind, str(error)


def error_of(table: OperatorTable) -> str:
    """The error of a table in words. InputError: no cost model can be fitted to it."""
    return error_text(described(fit(table)))


def sources_of(costs: CostModel, graph_tokens: int) -> list[str]:
    """Public measurements that the costs hold, if any (all else was measured by flowsim); and what else goes in."""
    about = None if costs.provenance is None else costs.provenance.table
    parts = {"operators": about, "all-reduces": None if about is None else about.all_reduce}
    said = [
        f"{part} from {factors.source}"
        for part, factors in parts.items()
        if factors is not None and factors.source is not None
    ]
    if about is not None and about.modelled_from is not None:
        said.append(
            f"operators scaled from {about.modelled_from} and tables like it, by datasheets; no boost of a rested GPU"
        )
    if about is not None and about.cells is not None:
        measured, rows = counted(about.cells)
        said.append(f"of its {rows:,} rows of the device {measured:,} were measured there, the rest filled in")
    if graph_tokens:
        said.append(f"forwards of one prompt of up to {graph_tokens:,} tokens run as recorded CUDA graphs")
    if costs.boost is not None:
        said.append(
            f"a GPU that has rested is faster at first, by {percent(costs.boost.gain(8192), 0)} with 8192 tokens"
        )
    return said


def extrapolated(cost: CostModel, trace: Trace, max_batched_tokens: int, cached: NDArray[np.int64]) -> int | None:
    """How many prompts within the context reach beyond the measured sizes; None if those are not known.

    Args:
        cost: the cost model.
        trace: the prompts.
        max_batched_tokens: most tokens of one forward.
        cached: tokens of each prompt that are not computed, shape [n].
    """
    if cost.provenance is None:
        return None
    beyond = cost.provenance.measured.beyond(trace.input_length, cached, max_batched_tokens)
    return int((beyond & ~over_context(cost, trace)).sum())


def over_context(cost: CostModel, trace: Trace) -> NDArray[np.bool_]:
    """Whether each prompt is longer than the model's context, so that an instance rejects it, shape [n]."""
    return np.asarray(trace.input_length > cost.max_context)


def beyond_fit(predictor: str, cost: CostModel, trace: Trace) -> list[str]:
    """What to say of prompts within the context that are longer than those to which the cubic predictor is fitted."""
    n = int(((trace.input_length > LONGEST_FITTED) & ~over_context(cost, trace)).sum())
    if not n or predictor != "cubic":
        return []
    longer = f"{number_of(n, 'prompt')} of more than {LONGEST_FITTED:,} tokens"
    return [f"{longer}, to which the cubic predictor is not fitted: try --predictor exact"]


def rejections(cost: CostModel, trace: Trace) -> list[str]:
    """What to say of prompts that are longer than the model's context, if there are any."""
    n = int(over_context(cost, trace).sum())
    if not n or cost.provenance is None:
        return []
    are, model = "prompt is" if n == 1 else "prompts are", cost.provenance.table.rank().model
    return [f"{n:,} {are} longer than the {cost.max_context:,} tokens of {model}'s context: rejected"]
