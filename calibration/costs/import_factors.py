"""By how much imported tables are fast: whole prompts on the GPUs and models that have a measured table as well.

Public kernels are timed alone, ours inside a layer on a GPU at its power limit. Whole prompts take longer than an
imported table says, by a factor that differs between GPUs and models: their median is what
`corrected` multiplies by, and their spread is the error that stays.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct, to_builtins

from flowsim.calibration.costs.curves import query_key_pairs
from flowsim.calibration.costs.provenance import Provenance
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_rows import ALL_REDUCE
from flowsim.errors import InputError

SIZES = (512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384)
"""Tokens of the whole prompts."""
FILE = "data/imports/factors.csv"
"""In `flowsim.calibration`; `flowsim.calibration.published.factors` writes it."""


class ModelFactors(NamedTuple):
    """One model on one GPU with both tables.

    Attributes:
        framework: whose kernels the imported table has.
        gpu: the name of the GPU in the measured table.
        model: the name of the model.
        experts: whether it is a mixture of experts.
        weights: the type of its weights.
        factors: measured over imported time of prompts of SIZES.
    """

    framework: str
    gpu: str
    model: str
    experts: bool
    weights: str
    factors: tuple[float, ...]


class ImportFactors(Struct, frozen=True):
    """How many times as long whole prompts take as an imported table says.

    Attributes:
        compared: models on GPUs that have both tables.
        tokens: sizes of prompts, ascending.
        median: the factor at each size, the median of those compared.
        low: the least of them at each size.
        high: the largest.
        corrected: whether the costs were multiplied by the median.
        error: the stated error, as a share of the times: by how much those compared differ at most from the table or,
            if it is corrected, each from the median of the others; None of fewer than 3 if it is corrected.
    """

    compared: int
    tokens: tuple[int, ...]
    median: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    corrected: bool = False
    error: float | None = None

    @classmethod
    def of(cls, about: Provenance) -> ImportFactors | None:
        """The factors of an imported table; None if it was not imported, or none of its kind was compared."""
        if about.kind != "imported" or about.model_spec is None:
            return None
        kind = about.framework, bool(about.model_spec.experts), about.model_spec.weights
        alike = [one.factors for one in known_factors() if (one.framework, one.experts, one.weights) == kind]
        if not alike:
            return None
        median, low, high = (tuple(map(float, statistic(alike, axis=0))) for statistic in (np.median, np.min, np.max))
        return cls(len(alike), SIZES, median, low, high, about.corrected, _error(np.array(alike), about.corrected))

    def at(self, tokens: float) -> float:
        """The factor of a prompt of this many tokens: a straight line between sizes, and the nearest one beyond."""
        return float(np.interp(tokens, self.tokens, self.median))

    def stated(self) -> dict[str, Any]:
        """As a summary states it."""
        return to_builtins(self)  # type: ignore[no-any-return]


def _error(factors: np.ndarray, corrected: bool) -> float | None:
    """The stated error of tables with these factors, one row each."""
    if not corrected:
        return float(np.abs(factors - 1).max())
    if len(factors) < 3:
        return None
    others = [np.median(np.delete(factors, place, axis=0), axis=0) for place in range(len(factors))]
    return float(np.abs(factors / others - 1).max())


def corrected(table: OperatorTable) -> OperatorTable:
    """The same table with device times multiplied by the factor of a prompt of as many tokens.

    The attention of a chunk is multiplied by the factor of the whole prompt of equal work. All-reduces are measured
    among GPUs and stay, and so do host times, which are ours.

    Raises:
        InputError: the table was not imported, or no table of its kind was compared.
    """
    about = table.provenance
    factors = ImportFactors.of(about)
    if about.kind != "imported":
        name = f"{about.gpu}/{about.model}/tp{about.tp}"
        raise InputError("correct", f"{name} is a {about.kind} table", expected="an imported one")
    if factors is None:
        kind = "" if about.model_spec is None else f" in {about.model_spec.weights}"
        raise InputError("correct", f"no measured table tells how fast imports of {about.source}{kind} are")

    def scale(tokens: int, context: int) -> float:
        return factors.at(tokens if not context else (2 * query_key_pairs(tokens, context)) ** 0.5)

    rows = tuple(
        row
        if row.operator == ALL_REDUCE
        else replace(
            row,
            **{
                name: round(getattr(row, name) * scale(row.tokens, row.context), 3)
                for name in ("device_us", "device_us_p10", "device_us_p90")
            },
        )
        for row in table.operators
    )
    return replace(table, operators=rows).stating(corrected=True)


@cache
def known_factors() -> tuple[ModelFactors, ...]:
    """All models on GPUs that have both tables, from the file."""
    with (resources.files("flowsim.calibration") / FILE).open(encoding="utf-8") as file:
        return tuple(map(_compared, csv.DictReader(file)))


def _compared(row: Mapping[str, str]) -> ModelFactors:
    factors = tuple(float(row[str(tokens)]) for tokens in SIZES)
    return ModelFactors(row["framework"], row["gpu"], row["model"], row["experts"] == "yes", row["weights"], factors)
