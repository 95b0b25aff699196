"""`flowsim calibrate import`, `report` and `compare`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from flowsim.cli.main import main
from support.calibration import undrawn


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--out: is missing; expected a folder for the table"),
        (["--out", "x"], "device: no CUDA GPU was found"),
        (["--tp", "3", "--device", "cpu", "--out", "x"], "tp must be a divisor of llama3-8b's heads, 32, got 3"),
        (
            ["all-reduce", "h200/llama3-8b/tp1", "--device", "cpu"],
            "tp of the table must be >= 2: one GPU has",
        ),
        (["report", "nothing"], "nothing: is not a folder; expected an operator table"),
        (["report", "h200/llama3-8b/tp3"], "tp must be a divisor of llama3-8b's heads, 32, got 3"),
        (["import", "aiconfigurator"], "--system: is missing"),
        (
            ["import", ".", "--system", "a100_sxm", "--framework", "vllm"],
            "--system, --framework: need the SOURCE aiconfigurator: a folder names its own system",
        ),
        (["--model", "x", "import", "."], "--model: must follow import"),
        (["-q", "compare", "a", "b"], "--quiet: is not an option of compare"),
        (["--out", ""], "--out: is empty; expected a name"),
        (["all-reduce", "x", "--out", ""], "--out: is empty"),
        (["report", "h200/llama3-8b/tp1", "--compare", ""], "--compare: is empty"),
        (
            ["report", "h200/llama3-8b/tp1", "--compare", "h200/qwen3-8b/tp1"],
            "h200/qwen3-8b/tp1: model must be 'llama3-8b', as in the first table, got 'qwen3-8b'",
        ),
    ],
)
def test_a_wrong_command_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["flowsim", "calibrate", *arguments])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 2
    assert f"flowsim: error: {message}" in (said := capsys.readouterr().err)
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_page_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undrawn(monkeypatch)
    out = tmp_path / "page.html"
    arguments = ["calibrate", "report", "h200/llama3-8b/tp1", "--out", str(out)]
    assert CliRunner().invoke(main, arguments, catch_exceptions=False).output == f"saved the page in {out}\n"
    assert out.read_text().startswith("<!doctype html>")
    table = CliRunner().invoke(main, ["calibrate", "compare", *["h200/llama3-8b/tp1"] * 2], catch_exceptions=False)
    assert "1.000" in table.output
