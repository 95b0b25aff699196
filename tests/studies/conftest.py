"""A folder of results that tests compare theirs with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import flowsim
from support.studies import RUN, STUDY


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one worker."""
    folder = tmp_path_factory.mktemp("whole")
    assert flowsim.sweep(STUDY, folder, workers=1).new == 18
    return folder


@pytest.fixture(scope="session")
def rates(tmp_path_factory: pytest.TempPathFactory) -> flowsim.Runs:
    """A study of two policies, rates and seeds."""
    axes: dict[str, Any] = {"policy": ["fcfs", "flowprefill"], "workload.rate_rps": [8, 24], "seed": [0, 1]}
    folder = tmp_path_factory.mktemp("rates")
    return flowsim.sweep({"run": RUN, "axes": axes, "requests": True}, folder, workers=1)


@pytest.fixture(scope="session")
def searched() -> flowsim.Runs:
    """Highest rates of two policies."""
    return flowsim.capacity("synthetic:qwen:60", ["fcfs", "flowprefill"], replications=2, tolerance=0.1, workers=1)
