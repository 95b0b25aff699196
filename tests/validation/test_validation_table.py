"""The operator table of a validation: which ones are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import load_table
from support.validation import command, invoke

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("hurried")


def test_a_table_of_another_shape_of_that_name_is_refused(here: Path) -> None:
    spec = yaml.safe_load(Path("tiny.yaml").read_text()) | {"layers": 3}
    Path("three.yaml").write_text(yaml.safe_dump(spec))
    result = invoke(command("three", "--model", "three.yaml", "--rate-scale", "1"))
    assert result.exit_code == 2
    assert "model must be that of the operator table, tiny" in result.stderr


def test_what_the_table_does_not_allow_leaves_no_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, large = OperatorTable.load("table"), load_table("h200", "qwen2.5-14b")
    replace(own, operators=tuple(row for row in own.operators if row.operator != "graph")).save("plain")
    replace(large, operators=tuple(replace(row, backend="torch") for row in large.operators)).save("large")
    monkeypatch.setattr(
        "flowsim.validation.gpu_runs.serving_decoder", lambda *given, **more: pytest.fail("built the model")
    )
    for options, said in (
        (("--graph-tokens", "512", "--cost", "plain"), "was measured without recorded forwards; expected 0"),
        (("--graph-tokens", "512"), "--graph-tokens must be <= 128 (the most measured"),
        (("--cost", "large"), "model must be that of the operator table, qwen2.5-14b"),
    ):
        result = invoke(command("early", *options))
        assert result.exit_code == 2
        assert said in result.stderr
        assert "finding the rates" not in result.stderr
        assert not Path("early").exists()


def test_a_table_of_kernels_that_no_server_runs_is_refused(here: Path) -> None:
    result = invoke(["validate", "trace.jsonl", "--gpu", "h200", "--device", "cpu", "--out", "refused"])
    assert result.exit_code == 2
    assert "h200/llama3-8b: has attention measured with split" in result.output
    assert not (here / "refused").exists()
