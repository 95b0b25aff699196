"""What a cost model was fitted to: the table, the sizes that it spans, and how much the fit differs from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from flowsim.calibration.costs.import_factors import ImportFactors
from flowsim.calibration.costs.pass_kinds import LONG_PROMPT
from flowsim.calibration.costs.provenance import PassError, PassErrors, Provenance, SizeErrors
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_rows import OperatorRow
from flowsim.core.operators import LAYER_OPERATORS


class MeasuredRange(Struct, frozen=True):
    """What a table's rows span, in tokens; costs beyond are extrapolated.

    Attributes:
        tokens: the largest forward.
        chunk_tokens: the largest chunk on context.
        context: the longest context.
    """

    tokens: int
    chunk_tokens: int
    context: int

    @classmethod
    def of(cls, table: OperatorTable) -> MeasuredRange:
        """The range of this table."""
        layer = [row for row in table.operators if row.operator in LAYER_OPERATORS]
        chunks = [(row.tokens, row.context) for row in layer if row.context]
        largest, deepest = (max(column) for column in zip(*chunks, strict=True)) if chunks else (0, 0)
        return cls(min(_largest(layer).values(), default=0), largest, deepest)

    def beyond(
        self, tokens: npt.NDArray[np.int64], cached: npt.NDArray[np.int64], forward_tokens: int
    ) -> npt.NDArray[np.bool_]:
        """Which prompts leave the range, computed in forwards of at most `forward_tokens`.

        Args:
            tokens: of each prompt, shape [n].
            cached: how many of them are in the prefix cache, shape [n].
            forward_tokens: the most tokens of one forward.
        """
        computed = tokens - cached
        most = np.minimum(computed, forward_tokens)
        chunk = np.where(cached > 0, most, np.minimum(computed - most, forward_tokens))  # the largest on context
        context = np.where(chunk > 0, cached + (computed - 1) // forward_tokens * forward_tokens, 0)
        beyond: npt.NDArray[np.bool_] = (most > self.tokens) | (chunk > self.chunk_tokens) | (context > self.context)
        return beyond


@dataclass(frozen=True)
class FitRecord:
    """Where the costs of a cost model come from, and how accurate they are.

    Attributes:
        table: the provenance of the table.
        sha256: the digest of the table.
        measured: the sizes that it spans.
        error: by kind of pass, how much the model differs from whole passes that were not fitted.
        leave_one_out: by operator, how much the fit differs from sizes that are left out of it.
        factors: of an imported table, by how much it is fast; None for others, and where that is not known.
        folder: the folder that the table was read from; None if it was found by its name.
        is_stored: whether the table is in a folder or in the catalogue, so that its costs can be found again.
    """

    table: Provenance
    sha256: str
    measured: MeasuredRange
    error: PassErrors = field(default_factory=dict)
    leave_one_out: SizeErrors = field(default_factory=dict)
    factors: ImportFactors | None = None
    folder: Path | None = None
    is_stored: bool = False

    @property
    def long_prompt_error(self) -> PassError | None:
        """How much the model differs from whole prompts of at least 1024 tokens; None if none were measured."""
        return self.error.get(LONG_PROMPT)

    @property
    def stated_error(self) -> float | None:
        """The error in one number, a share: the median at measured prompts of at least 1024 tokens or, of an imported
        table, the most by which measured prompts differ from it, or, of a modelled one, the largest median of those
        modelled likewise; None if it is not known."""
        if self.factors is not None:
            return self.factors.error
        return None if self.long_prompt_error is None else self.long_prompt_error.median


def _largest(rows: Iterable[OperatorRow]) -> dict[str, int]:
    """The largest size without context of each operator."""
    largest: dict[str, int] = {}
    for row in rows:
        if not row.context:
            largest[row.operator] = max(row.tokens, largest.get(row.operator, 0))
    return largest
