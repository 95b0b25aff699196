"""`flowsim calibrate model`: a table that the next command finds, and what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import TableName, shipped_tables
from flowsim.cli.main import main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOWSIM_TABLES", str(tmp_path / "tables"))


def flowsim(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_the_command_that_a_refusal_gives_works_and_so_does_the_run_then() -> None:
    refused = flowsim("run", "example", "--gpu", "h20", "--limit", "5")
    command = refused.stderr.rpartition("(flowsim ")[2].removesuffix(")\n")
    assert command == "calibrate model --gpu h20 --model llama3-8b"
    made = flowsim(*command.split(), "--from", "h200/llama3-8b")
    assert made.stdout == (
        "scaled from h200/llama3-8b/tp1 by NVIDIA H20 product brief (2023), HGX 96 GB\nerror not known\n"
        f"saved the table in {Path('tables').resolve()}/h20/llama3-8b/tp1; use it with --gpu h20 --model llama3-8b\n"
    )
    assert (
        "h20/llama3-8b/tp1, modelled; error not known"
        in flowsim("run", "example", "--gpu", "h20", "--limit", "5").stdout
    )
    listed = flowsim("models").stdout
    assert "modelled" in listed
    assert "flowsim calibrate model --gpu NAME: a100-40gb, a100-80gb, a800, b200" in listed


def test_one_s_own_gpu_and_a_rank() -> None:
    sheet = "{architecture: x, bf16_tflops: 500, bandwidth_tb_s: 2, memory_gib: 64, multiprocessors: 100, power_w: 300"
    Path("mine.yaml").write_text(f"{sheet}, source: own estimate}}\n")
    made = flowsim("calibrate", "model", "--gpu", "mine.yaml", "--from", "h200/llama3-8b", "--tp", "2", "--out", "t")
    assert made.stdout.endswith(
        "saved the table in t; complete it with flowsim calibrate all-reduce t --public h200_sxm "
        "(over the NVLink of an H200: none of mine are public)\n"
    )
    about = OperatorTable.load("t").provenance
    assert (about.gpu, about.tp, about.stated["datasheet"]["source"]) == ("mine", 2, "own estimate")


def test_a_shipped_table_is_not_hidden() -> None:
    refused = flowsim("calibrate", "model", "--gpu", "h200", "--model", "qwen3-8b")
    assert refused.exit_code == 2
    assert refused.stderr == (
        "flowsim: error: --out: is missing, and h200/qwen3-8b/tp1 is a shipped table, which one of that name would "
        "hide; expected --out DIR, or a model's file or folder of another name\n"
    )
    assert not Path("tables").exists()


def test_an_unknown_gpu_is_refused_in_one_line() -> None:
    refused = flowsim("calibrate", "model", "--gpu", "mi300")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith("flowsim: error: --gpu: unknown gpu 'mi300'; did you mean 'mi300x'?")


def test_a_table_of_one_rank_names_the_command_that_completes_it() -> None:
    Path("ranks").symlink_to(shipped_tables()[TableName("h200", "llama3-8b", 4)])
    for given, table in (("--tp=4", "h200/llama3-8b/tp4"), ("--cost=ranks", "ranks")):
        assert flowsim("run", "example", given).stderr == (
            f"flowsim: error: {table}: is of one rank of 4, without all-reduces; expected flowsim calibrate all-reduce "
            f"{table} --public h200_sxm, or the same without --public where there are as many GPUs\n"
        )
