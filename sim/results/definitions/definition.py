"""The definition of one metric or column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Definition:
    """The definition of one metric.

    Attributes:
        name: in summary.json, or of the column.
        meaning: what it says.
        formula: how it is computed, from other names or from events.
        parts: the entries of a mapping, such as "p50"; a table has a column for each (`columns`).
    """

    name: str
    meaning: str
    formula: str = ""
    parts: Sequence[str] = ()

    @property
    def label(self) -> str:
        """The name with its parts."""
        return f"{self.name}: {', '.join(self.parts)}" if self.parts else self.name

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that hold it in a table of runs: its name, or one for each part ("ttft_p50_s")."""
        return tuple(column_of(self.name, part) for part in self.parts) or (self.name,)


def column_of(name: str, part: str) -> str:
    """The column of a table of runs that holds a part of a metric: "ttft_s" and "p50" give "ttft_p50_s"."""
    return f"{name.removesuffix('_s')}_{part}_s"
