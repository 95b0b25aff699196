"""A trace, a model, its operator table and a validation, each made once on the CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import Result

import flowsim
from flowsim.calibration.measure.calibrate import calibrate
from flowsim.validation.evidence import Evidence
from support.costs import GRID
from support.validation import SPEC, command, invoke


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace of 60 requests in 3 s, a model's shape, and its operator table, measured on this CPU."""
    folder = tmp_path_factory.mktemp("validate")
    rng = np.random.default_rng(1)
    trace = flowsim.Trace.of(np.cumsum(rng.exponential(0.05, 60)), rng.choice([20, 60, 500], 60, p=[0.6, 0.3, 0.1]))
    flowsim.traces.write_trace(trace, folder / "trace.jsonl")
    calibrate(SPEC, device="cpu", grid=GRID).save(folder / "table")
    about = yaml.safe_load((folder / "table" / "provenance.yaml").read_text())
    (folder / "tiny.yaml").write_text(yaml.safe_dump(about["model_spec"]))
    return folder


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `evidence` shows once is not drawn again."""
    monkeypatch.setattr("flowsim.validation.report.picture", lambda of: b"png")


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def evidence(folder: Path) -> Iterator[tuple[Evidence, Result]]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        result = invoke(command("evidence"))
        assert result.exit_code == 0, result.output
        yield Evidence.load(folder / "evidence"), result
    finally:
        os.chdir(before)
