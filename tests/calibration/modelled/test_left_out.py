"""The shipped errors are those of today's model, for one table that was left out."""

from __future__ import annotations

import pytest

from flowsim.calibration.costs.models import load_model
from flowsim.calibration.costs.table_catalogue import load_table, shipped_tables
from flowsim.calibration.modelled.accuracy import known_errors
from flowsim.calibration.modelled.left_out import against_measured, errors_of


def test_the_h100_from_the_h200() -> None:
    source = [load_table(*name) for name in shipped_tables() if name.gpu == "h200"]
    found = errors_of("gpu", "h100", load_model("llama3-8b"), against_measured(load_table("h100", "llama3-8b"), source))
    known = [of for of in known_errors() if of[:3] == ("gpu", "h100", "llama3-8b")]
    for one, other in zip(found, known, strict=True):
        assert one[:6] == other[:6]
        assert one[6:] == pytest.approx(other[6:], abs=2e-4)
