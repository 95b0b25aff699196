"""Tables by their names."""

from __future__ import annotations

import pytest

from flowsim.calibration.costs.table_catalogue import load_table, shipped_tables
from flowsim.calibration.costs.table_rows import ALL_REDUCE
from flowsim.runs.costs import load_cost

WHOLE = [name for name in sorted(shipped_tables()) if name[2] == 1 or load_table(*name).has(ALL_REDUCE)]
"""All that a run can be costed with; the others are ranks that lack their all-reduces."""


@pytest.mark.parametrize("name", WHOLE, ids=str)
def test_it_is_found_by_its_names(name: tuple[str, str, int]) -> None:
    gpu, model_name, tp = name
    cost = load_cost(None, model_name, gpu, tp)
    assert cost.name == f"{gpu}/{model_name}/tp{tp}"
    assert cost.provenance.sha256 == load_table(*name).digest()
