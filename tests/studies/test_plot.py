"""The figures of a folder."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

import flowsim
from flowsim.cli.main import main
from flowsim.errors import InputError
from flowsim.studies.figures import lines, max_goodput, ttft_distribution
from flowsim.studies.plot import draw, selected


def test_errors_say_why_nothing_can_be_drawn(rates: flowsim.Runs, searched: flowsim.Runs) -> None:
    broken = replace(rates, table=rates.table.assign(error="broken"))
    for drawing, message in (
        (lambda: lines(rates, "rate"), "unknown option 'rate' (known: "),
        (
            lambda: max_goodput(rates),
            "study: has no highest rates; expected one with capacity, or flowsim capacity --out",
        ),
        (lambda: ttft_distribution(searched), "study: kept no requests; expected requests: true, and a folder"),
        (lambda: selected(rates, ["workload.rate_rps=9"]), "--select workload.rate_rps must be one of 8, 24, got '9'"),
        (lambda: selected(rates, ["policy"]), "--select must be NAME=VALUE, got 'policy'"),
        (lambda: draw(broken), "study: has no run that succeeded, so there is nothing to draw"),
    ):
        with pytest.raises(InputError) as error:
            drawing()
        assert str(error.value).startswith(message)


@pytest.mark.parametrize("text", ["8", "8.0", "08", ".8e1"])
def test_runs_are_selected_by_the_number_however_it_is_written(rates: flowsim.Runs, text: str) -> None:
    assert set(selected(rates, [f"workload.rate_rps={text}"]).table["workload.rate_rps"]) == {8}


def test_what_holds_no_runs_is_refused() -> None:
    with pytest.raises(InputError, match=r"^folder must be the folder of a study, got nothing$"):
        flowsim.load_runs(None)  # type: ignore[arg-type]


def test_the_commands_go_from_a_study_to_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "study.yaml").write_text(
        "run: {trace: 'synthetic:qwen:60'}\naxes: {policy: [fcfs, flowprefill], slo.scale: [0.5, 1]}\n"
    )
    out = str(tmp_path / "out")
    for arguments in (["sweep", str(tmp_path / "study.yaml"), "--out", out, "--workers", "1"], ["plot", out]):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 0
    said = capsys.readouterr().out
    assert "paired" not in said
    assert "study: 4 runs (4 new, in " in said and "attainment-slo.scale.svg" in said
    assert (tmp_path / "out" / "attainment-slo.scale.png").exists()
    with pytest.raises(SystemExit) as exit_:
        main(["capacity", "synthetic:qwen:60", "--replications", "2", "--set", "slo.scale=2", "--workers", "1"])
    assert exit_.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "- fcfs, req/s" in said and "are paired, on the same requests." in said and "[-" not in said.split("- fcfs")[0]
    )
    assert "Few requests: 54 count per run; at the highest sustained rate they arrive within as little as" in said
    with pytest.raises(SystemExit) as exit_:
        main(["capacity", "example", "--set", "slo.scale"])
    assert "--set must be NAME=VALUE, got 'slo.scale'" in capsys.readouterr().err
    for name, said in (("slo_scale", "did you mean 'slo.scale'?"), ("workload.limt", "did you mean 'workload.limit'?")):
        with pytest.raises(SystemExit):
            main(["capacity", "example", "--set", f"{name}=2"])
        assert said in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["capacity", "example", "--set", "seed=2", "--set", "seed=3"])
    assert "--set seed: is given twice" in capsys.readouterr().err
    with pytest.raises(SystemExit) as exit_:
        main(["capacity", "example", "--set", "seeds=2"])
    assert exit_.value.code == 2
    assert "unknown option 'seeds'; did you mean 'seed'?" in capsys.readouterr().err


def test_requests_that_are_gone_cost_one_figure_and_are_named(
    rates: flowsim.Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rates.folder is not None
    folder = shutil.copytree(rates.folder, tmp_path / "study")
    gone = f"requests/{rates.table['key'][0][:16]}.parquet"
    shutil.rmtree(folder / "requests")
    with pytest.raises(SystemExit) as exit_:
        main(["plot", str(folder)])
    told = capsys.readouterr()
    assert exit_.value.code == 0
    assert "attainment-workload.rate_rps.svg" in told.out and "ttft" not in told.out
    assert told.err == (
        f"flowsim: warning: no figure of the TTFT: {folder}: misses {gone}; expected the requests of every run; "
        "a sweep makes them again\n"
    )
    with pytest.raises(InputError, match=f"misses {gone}"):
        ttft_distribution(flowsim.load_runs(folder))


def test_a_study_that_kept_none_says_nothing_of_them(rates: flowsim.Runs, tmp_path: Path) -> None:
    study = {"run": {"trace": "example", "workload.limit": 20}, "axes": {"policy": ["fcfs", "edf"]}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "ttft" not in draw(flowsim.sweep(study, tmp_path, workers=1))
