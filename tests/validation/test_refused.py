"""What `flowsim validate` refuses, before anything is measured or written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import Result

import flowsim
from flowsim.validation.evidence import Evidence
from support.validation import command, invoke

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("hurried")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_machine_without_a_gpu_says_so_in_one_line(tmp_path: Path) -> None:
    result = invoke(["validate", "example", "--quick", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    expected = "flowsim: error: device: no CUDA GPU was found; expected a machine with one, or the device 'cpu'\n"
    assert result.stderr == expected
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--repeats", "0"), "--repeats must be >= 1, got 0"),
        (("--load", "0.5"), "--load: given together with --rate-scale"),
        (("--policy", "fifo"), "unknown policy 'fifo'"),
        (("--gpu", "h100x"), "unknown gpu 'h100x'"),
        (("--seed", "1", "--gpu", "h200"), "--gpu: given together with --cost; expected one of them"),
        (("--predictor", "nope"), "unknown predictor 'nope'"),
        (("--rate-scale", "1e9"), "--rate-scale must be <= 1000, got 1000000000.0"),
        (("--out", "table"), "table: is an operator table; expected a new folder"),
        (("--format", "nothing"), "nothing"),
        (("--duration", "0"), "--duration must be > 0, got 0.0"),
        (("--duration", "inf"), "--duration must be <= 2^53, got inf"),
        (("--duration", "nan"), "--duration must be a number > 0, got nan"),
        (("--start", "-1"), "--start must be >= 0, got -1.0"),
        (("--slo", "-1"), "-1"),
    ],
)
def test_wrong_input_is_one_line(here: Path, more: tuple[str, ...], said: str) -> None:
    arguments = [a for a in command("wrong", *more) if more[0] != "--gpu" or a not in ("--cost", "table")]
    result = invoke(arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.splitlines()[-1].startswith("flowsim: error")


@pytest.mark.parametrize(
    ("arrival_s", "options", "said"),
    [
        ([0.0], ("--rate-scale", "1"), "few.jsonl: has 1 request; expected >= 2, over some time, in the duration"),
        ([0.0] * 6, ("--rate-scale", "1"), "few.jsonl: has 6 requests at once; expected >= 2"),
        ([0.0, 5.0], ("--rate-scale", "1", "--duration", "1"), "few.jsonl: has 1 request; expected >= 2"),
        ([0.0, 1.0], ("--rate-scale", "-1"), "--rate-scale must be >= 0.001, got -1.0"),
        ([0.0], ("--load", "0.5"), "few.jsonl: has 1 request; expected >= 30, over some time, to search"),
        ([0.0] * 40, ("--load", "0.5"), "few.jsonl: has 40 requests at once; expected >= 30"),
        ([0.0, 1.0, 2.0], ("--start", "0.5"), "few.jsonl from 0.5 s on: has 2 requests; expected >= 30"),
    ],
)
def test_a_trace_without_a_rate_is_refused_before_anything_is_measured(
    here: Path, monkeypatch: pytest.MonkeyPatch, arrival_s: list[float], options: tuple[str, ...], said: str
) -> None:
    flowsim.traces.write_trace(flowsim.Trace.of(arrival_s, [5000] * len(arrival_s)), "few.jsonl")
    monkeypatch.setattr("flowsim.validation.validation_table.calibrate", lambda *given, **more: pytest.fail("measured"))
    fixed = ("--model", "tiny.yaml", "--device", "cpu", "--slo", "1", "--out", "norate")
    result = invoke(["validate", "few.jsonl", *fixed, *options])
    assert result.exit_code == 2
    assert said in result.stderr
    assert not Path("norate").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model", "other.yaml"], "model must be that of the operator table, tiny"),
        (["--seed", "3"], "holds evidence with other options (seed); expected a new folder"),
        (["--max-batched-tokens", "64"], "holds evidence with other options (server); expected a new folder"),
    ],
)
def test_a_folder_holds_one_validation(
    evidence: tuple[Evidence, Result], here: Path, more: list[str], message: str
) -> None:
    (here / "other.yaml").write_text((here / "tiny.yaml").read_text().replace("name: tiny", "name: other"))
    before = (here / "evidence" / "evidence.json").read_bytes()
    result = invoke(command("evidence", *more))
    assert result.exit_code == 2
    assert message in result.output
    assert (here / "evidence" / "evidence.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evidence", "--load", "0.1", "--policy", "sjf"], "--policy, --load: given with evidence; expected --out,"),
        (["evidence", "--cost", "table", "--graph-tokens", "0"], "--cost, --graph-tokens: given with evidence"),
        (["evidence", "--out", "other"], "--out other: holds evidence of its own"),
        (["empty"], "empty: has no evidence.json; expected one trace, or folders that flowsim validate wrote"),
        (["evidence", "trace.jsonl"], "trace.jsonl: has no evidence.json; expected one trace, or folders that"),
        (["trace.jsonl", "trace.jsonl"], "trace.jsonl: has no evidence.json"),
        (["evidence", "evidence"], "evidence: is given twice"),
        (["evidence", "other", "--out", "evidence"], "--out evidence: holds evidence of its own"),
    ],
)
def test_several_of_something_else_are_refused(
    evidence: tuple[Evidence, Result], here: Path, arguments: list[str], said: str
) -> None:
    if not Path("other").exists():
        shutil.copytree("evidence", "other")
    Path("empty").mkdir(exist_ok=True)
    result = invoke(["validate", *arguments])
    assert result.exit_code == 2
    assert said in result.stderr
