"""`flowsim calibrate` on a CPU: interrupted, gone on with, and where its table goes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.calibration.measure import stopwatch
from flowsim.cli.main import main
from flowsim.io.locks import locked
from flowsim.io.signals import Terminated
from support.costs import GRID

pytest.importorskip("torch")

TINY = """{name: tiny, layers: 2, hidden: 64, heads: 4, kv_heads: 2, head_dim: 16, intermediate: 128, vocab: 97,
  max_context: 512, rope_theta: 10000.0, norm_eps: 1.0e-5}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny model, which is measured in a moment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flowsim.calibration.measure.calibrate.QUICK", GRID)
    Path("tiny.yaml").write_text(TINY)
    return tmp_path


def calibrate(out: str, *more: str) -> Result:
    arguments = ["calibrate", "--model", "tiny.yaml", "--device", "cpu", "--quick", "--out", out, *more]
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


@pytest.mark.parametrize(
    ("signal", "status", "word"), [(KeyboardInterrupt(), 130, "interrupted"), (Terminated(), 143, "terminated")]
)
def test_an_interrupted_calibration_says_how_it_goes_on_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, signal: BaseException, status: int, word: str
) -> None:
    def interrupted(*args: object) -> None:
        raise signal

    with monkeypatch.context() as patched:
        patched.setattr(stopwatch, "time_head", interrupted)
        result = calibrate("my table")
        assert (result.exit_code, result.stdout) == (status, "")
        kept, end = result.stderr.split("\n", 1)
        assert kept == "finished measurements are kept in my table.journal; run the same command again to continue"
        assert end.strip() == f"flowsim: {word}"
        assert calibrate("my table", "--quiet").stderr.strip() == f"flowsim: {word}"
    assert not Path("my table").exists()
    sizes = len(Path("my table.journal").read_text().splitlines()) - 1
    result = calibrate("my table")
    assert result.stderr == f"continuing from {sizes} measured sizes in my table.journal\n"
    assert result.stdout.endswith("saved the table in my table; use it with --cost 'my table'\n")
    assert sorted(path.name for path in Path().iterdir()) == ["my table", "tiny.yaml"]


def test_what_goes_on_quietly_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(stopwatch, "time_head", interrupted)
        calibrate("table")
    assert calibrate("table", "--quiet").output == ""


def test_two_at_once_are_refused() -> None:
    with locked("table"):
        result = calibrate("table")
    expected = "table: is in use by another command; use another folder, or wait until it ends"
    assert (result.exit_code, result.stderr) == (2, f"flowsim: error: {expected}\n")
    assert [path.name for path in Path().iterdir()] == ["tiny.yaml"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_leads_to_the_table(there: bool) -> None:
    if there:
        Path("deep").mkdir()
    Path("link").symlink_to("deep")
    assert calibrate("link", "-q").output == ""
    assert Path("link").is_symlink()
    assert OperatorTable.load("deep").provenance.model == "tiny"


@pytest.mark.skipif(not Path("/proc/self").exists() or sys.platform == "win32", reason="no /proc here")
def test_a_link_to_where_nothing_can_be_written_is_refused_at_once() -> None:
    Path("link").symlink_to("/proc/x")
    result = calibrate("link")
    assert result.stderr == "flowsim: error: link: cannot be written (No such file or directory)\n"
    assert sorted(path.name for path in Path().iterdir()) == ["link", "tiny.yaml"]


@pytest.mark.parametrize("command", [("compare", "t", "t"), ("report", "t"), ("verify", "t", "--device", "cpu")])
def test_a_table_that_makes_no_model_is_named(here: Path, command: tuple[str, ...]) -> None:
    table = load_table("h200", "llama3-8b")
    lacking = tuple(row for row in table.operators if row.operator != "o_proj")
    replace(table, operators=lacking).save("t")
    result = CliRunner().invoke(main, ["calibrate", *command])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "flowsim: error: t: operators: no row of o_proj\n"
