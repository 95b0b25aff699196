"""The errors of a fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowsim.calibration.costs.accuracy import leave_one_out, left_out
from flowsim.calibration.costs.provenance import Provenance
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_rows import OperatorRow


def test_leaving_out_a_point_of_a_line_loses_nothing() -> None:
    rows = tuple(OperatorRow("o_proj", n, 0, 2.0 + n, 0, 0, 1.0, 5, "torch") for n in (1, 2, 5, 9))
    line = OperatorTable(Provenance.of({}), rows)
    assert [r.tokens for r in left_out(line)] == [2, 5]
    assert leave_one_out(line)["o_proj"].max == pytest.approx(0.0, abs=1e-12)
    bent = OperatorTable(Provenance.of({}), (*rows[:2], replace(rows[2], device_us=10.0), rows[3]))
    assert [r.error for r in left_out(bent)] == pytest.approx([(3 + 7 / 4) / 4 - 1, (4 + 7 * 3 / 7) / 10 - 1])
