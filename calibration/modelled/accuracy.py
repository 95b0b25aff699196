"""The error of modelled tables: whole prompts that were measured or published, modelled from the rest."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Literal, NamedTuple

from flowsim.calibration.costs.models import ModelSpec
from flowsim.calibration.costs.pass_kinds import LONG_PROMPT

FILE = "data/modelled/errors.csv"
"""In `flowsim.calibration`; `flowsim.calibration.modelled.left_out` writes it."""
ALL = "1024-"
"""The sizes of prompts that a stated error is about."""

LeftOut = Literal["gpu", "model", "both", "import"]
"""What was left out: the GPU, of a model that another GPU has; the model, on that GPU; both; or all, of a GPU that only
has public measurements, to which an import (corrected, `--correct`) stands in for the truth."""


class Error(NamedTuple):
    """The errors of one modelled table at whole prompts.

    Attributes:
        left_out: what it was not modelled from.
        gpu: its GPU.
        model: its model.
        kind: of that model: dense, fp8 (dense, with weights in FP8) or experts.
        tokens: the sizes of the prompts, as in 1024-2047 or 1024-.
        prompts: their number.
        median: of the absolute relative errors.
        max: the largest of them.
        bias: the median relative error: < 0 if modelled times are short.
    """

    left_out: str
    gpu: str
    model: str
    kind: str
    tokens: str
    prompts: int
    median: float
    max: float
    bias: float


@cache
def known_errors() -> tuple[Error, ...]:
    """All errors in the file."""
    with (resources.files("flowsim.calibration") / FILE).open(encoding="utf-8") as file:
        return tuple(map(_error, csv.DictReader(file)))


def model_kind(spec: ModelSpec) -> str:
    """The kind of a model, among which errors are compared; windows, shared experts and the like were in none."""
    lacking = spec.window, spec.post_norms, spec.shared_intermediate, spec.dense_layers
    if any(lacking) or spec.weights not in ("bf16", "fp8"):
        return "other"
    return "experts" if spec.experts else "dense" if spec.weights == "bf16" else spec.weights


def stated_error(spec: ModelSpec, gpu: str, source: str, tables: list[str], tp: int) -> dict[str, Any] | None:
    """The error of a modelled table as its provenance states it; None if no table of its kind was ever compared.

    It is the largest among the tables of the same GPU that were modelled with as much left out; None if there are none,
    or if this one was modelled from fewer tables.

    Args:
        spec: the model.
        gpu: the name of the GPU.
        source: the name of the GPU of the measured tables.
        tables: their names.
        tp: the tensor-parallel degree; only whole models were compared.
    """
    kind = model_kind(spec)
    left_out: LeftOut = "model" if gpu == source else "gpu" if f"{source}/{spec.name}/tp1" in tables else "both"
    known = [error for error in known_errors() if (error.kind, error.tokens) == (kind, ALL)]
    alike = [error for error in known if error.gpu == gpu and error.left_out in (left_out, "import")]
    of_source = {f"{source}/{error.model}/tp1" for error in known if (error.gpu, error.left_out) == (source, "model")}
    from_fewer_tables = not of_source - {f"{source}/{spec.name}/tp1"} <= set(tables)
    if not alike or tp > 1 or from_fewer_tables:
        return None
    return {
        LONG_PROMPT: {
            "passes": sum(error.prompts for error in alike),
            "median": max(error.median for error in alike),
            "max": max(error.max for error in alike),
        }
    }


def _error(row: Mapping[str, str]) -> Error:
    return Error(
        row["left_out"], row["gpu"], row["model"], row["kind"], row["tokens"],
        int(row["prompts"]), float(row["median"]), float(row["max"]), float(row["bias"]),
    )  # fmt: skip
