"""Saved runs and comparisons as the runs of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import flowsim
from flowsim.report.saved import Saved
from flowsim.report.saved_runs import runs_of

TRACE = "synthetic:qwen:60"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a comparison, of which one policy's is the folder of a run."""
    return flowsim.compare(TRACE, ["fcfs", "flowprefill"]).save(tmp_path_factory.mktemp("compared"))


def test_the_columns_of_a_saved_run_are_those_of_the_same_run_in_a_study(compared: Path) -> None:
    saved = runs_of(Saved.read(compared)).table.set_index("policy")
    axes: dict[str, Any] = {"policy": ["fcfs", "flowprefill"]}
    table = flowsim.sweep({"run": {"trace": TRACE}, "axes": axes}, workers=1).table.set_index("policy")
    shared = [name for name in saved.columns if name in table and name not in ("key", "bound", "slo.mix")]
    shared = [name for name in shared if not name.startswith(("bound_", "share_of"))]
    assert {"attainment", "ci_attainment_low", "attainment_text", "ttft_p99_s", "slo.scale"} <= set(shared)
    for name in shared:
        assert saved[name].isna().tolist() == table[name].isna().tolist(), name
        assert saved[name].dropna().tolist() == table[name].dropna().tolist(), name
