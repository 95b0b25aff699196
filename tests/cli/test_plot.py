"""`flowsim plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import flowsim
from flowsim.cli.main import main

TRACE = "synthetic:qwen:60"


@pytest.fixture(scope="module")
def rates(tmp_path_factory: pytest.TempPathFactory) -> flowsim.Runs:
    """A study of two policies and rates."""
    axes: dict[str, Any] = {"policy": ["fcfs", "flowprefill"], "workload.rate_rps": [8, 24]}
    folder = tmp_path_factory.mktemp("rates")
    return flowsim.sweep({"run": {"trace": TRACE}, "axes": axes, "requests": True}, folder, workers=1)


def test_the_command_names_its_options_in_errors_and_writes_where_it_is_told(
    rates: flowsim.Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["plot", str(rates.folder), "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as exit_:
        main([*given, "--y", "goodput_rps", "--format", "svg"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"{tmp_path}/goodput_rps-workload.rate_rps.svg\n"
    for more, said in (
        (["--y", "goodput"], "--y: unknown column 'goodput'; did you mean 'goodput_rps'?"),
        (["--width", "wide"], "--width must be column, page, or inches from 1.6 to 40, got 'wide'"),
        (["--format", "gif"], "--format: unknown format 'gif'"),
    ):
        with pytest.raises(SystemExit) as exit_:
            main([*given, *more])
        assert exit_.value.code == 2
        assert said in capsys.readouterr().err


def test_a_folder_with_the_name_of_a_figure_is_refused(
    rates: flowsim.Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["plot", str(rates.folder), "--out", str(tmp_path / "a.png")])
    assert exit_.value.code == 2 and not (tmp_path / "a.png").exists()
    assert "--out must be a folder; --format says of which kind its figures are, got" in capsys.readouterr().err
