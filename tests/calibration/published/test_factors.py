"""The factors in `calibration/data/imports` are measured over imported time."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flowsim.calibration.costs.fit import fit
from flowsim.calibration.costs.import_factors import SIZES, known_factors
from flowsim.calibration.costs.models import load_model
from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.calibration.published.aiconfigurator import folder_source, package_source
from flowsim.calibration.published.factors import SYSTEMS, model_factors
from flowsim.calibration.published.importer import import_table
from support.calibration import public_folder
from support.places import ROOT


def test_a_factor_is_measured_over_imported_time(tmp_path: Path) -> None:
    source, measured = folder_source(public_folder(tmp_path / "public")), load_table("h200", "llama3-8b")
    found = model_factors(source, measured)
    ours, theirs = fit(measured), fit(import_table(source, load_model("llama3-8b"), measured))
    assert found[:4] == ("", "h200", "llama3-8b", False)
    assert found.factors[2] == pytest.approx(ours.forward_s(1024) / theirs.forward_s(1024), abs=1e-4)


def test_the_factors_are_of_the_tables_that_are_shipped() -> None:
    about = yaml.safe_load((ROOT / "calibration" / "data" / "imports" / "provenance.yaml").read_text())
    assert set(about["measured"]) == {f"{one.gpu}/{one.model}/tp1" for one in known_factors()}
    for name, sha256 in about["measured"].items():
        gpu, model, _ = name.split("/")
        assert load_table(gpu, model).digest() == sha256, f"{name} has changed: write the factors anew"


@pytest.mark.parametrize("gpu", SYSTEMS)
def test_the_factors_follow_from_the_package(gpu: str) -> None:
    pytest.importorskip("aiconfigurator_core")
    (known,) = (one for one in known_factors() if one[:3] == ("vllm", gpu, "llama3-8b"))
    found = model_factors(package_source(SYSTEMS[gpu]), load_table(gpu, "llama3-8b"))
    assert found.factors == pytest.approx(known.factors, rel=1e-3)
    assert len(known.factors) == len(SIZES)
