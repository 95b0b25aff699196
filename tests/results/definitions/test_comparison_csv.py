"""Every column of comparison.csv is defined, and nothing else is."""

from __future__ import annotations

import flowsim
from flowsim.results.definitions.comparison_csv import compared


def test_every_column_of_a_comparison_is_defined() -> None:
    comparison = flowsim.compare("example", ["fcfs", "sjf"], limit=60)
    classes = next(iter(comparison.results.values())).slo.class_names
    assert list(comparison.table.columns) == list(compared(classes))
