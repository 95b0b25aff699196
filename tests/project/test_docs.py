"""Every command, code block and figure of text in the README, and the outputs in docs, are what comes out."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import flowsim
from flowsim.calibration.costs.models import load_model
from flowsim.calibration.measure.calibrate import calibrate
from support import accuracy, validation
from support.costs import GRID
from support.places import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
VALIDATION = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README + VALIDATION, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.partition("#")[0].strip()
    for _, block in BLOCKS
    for line in block.splitlines()
    if re.match(r"flowsim \w", line)
]
TIMED = re.compile(r", in [\d.]+ s of CPU")
TINY = """
name: tiny
layers: 2
hidden: 64
heads: 4
kv_heads: 2
head_dim: 16
intermediate: 128
vocab: 256
max_context: 600
rope_theta: 10000.0
norm_eps: 1.0e-5
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the README's reader has it: traces, and the policy it shows."""
    folder = tmp_path_factory.mktemp("reader")
    trace = flowsim.example_trace().head(60)
    flowsim.traces.write_trace(trace, folder / "trace.jsonl")
    flowsim.traces.write_trace(trace, folder / "trace.csv.gz", layout="jsonl")
    short = flowsim.Trace.of(trace.arrival_s, trace.input_length % 90 + 1)
    flowsim.traces.write_trace(short, folder / "short.jsonl")
    (folder / "my_policies.py").write_text(block_with("class MostOverdue"))
    (folder / "tiny.yaml").write_text(TINY)
    shutil.copytree(ROOT / "tests" / "data" / "evidence", folder / "tests" / "data" / "evidence")
    (folder / "studies").mkdir()
    study = (ROOT / "studies" / "slo_scale.yaml").read_text(encoding="utf-8")
    (folder / "studies" / "slo_scale.yaml").write_text(study.replace("qwen:2000", "qwen:40"))
    return folder


def block_with(text: str) -> str:
    return next(block for _, block in BLOCKS if text in block)


def table(folder: Path) -> str:
    """The tiny model's operator table, measured in a moment."""
    if not (folder / "tiny-table").exists():
        calibrate(load_model(str(folder / "tiny.yaml")), device="cpu", grid=GRID).save(folder / "tiny-table")
    return "tiny-table"


def flowsim_command(arguments: list[str], folder: Path) -> str:
    environment = {**os.environ, "COLUMNS": "120", "FLOWSIM_TABLES": str(folder / "tables")}
    command = [sys.executable, "-m", "flowsim.cli.main", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return "\n".join(line.rstrip() for line in done.stdout.splitlines())


def in_shell(word: str, folder: Path) -> list[str]:
    """What a shell makes of a word: the files that a pattern matches."""
    found = sorted(str(path.relative_to(folder)) for path in folder.glob(word)) if "*" in word else []
    return found or [word]


def test_the_readme_has_no_gap() -> None:
    assert not re.search(r"^[A-Z]{6,}$", README + VALIDATION, re.MULTILINE)


def test_the_readme_shows_commands() -> None:
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_runs(command: str, folder: Path) -> None:
    arguments = shlex.split(command)[1:]
    if "results/config.yaml" in arguments:
        flowsim_command(["run", "trace.jsonl", "--policy", "chunked:2048", "--out", "results", "-q"], folder)
    if "info" in arguments and "synthetic.jsonl.zst" in arguments:
        flowsim_command(["traces", "synth", "qwen", "--out", "synthetic.jsonl.zst"], folder)
    if "plot" in arguments:
        flowsim_command(["sweep", "studies/slo_scale.yaml", "--out", "scale", "--workers", "1", "-q"], folder)
    if "import" in arguments and importlib.util.find_spec("aiconfigurator_core") is None:
        pytest.skip("needs the extra 'import'")
    if "all-reduce" in arguments:
        pytest.skip("needs the table made by the command before it; test_collective and test_importer make the like")
    if ("a100_sxm" in arguments and "run" in arguments) or "llama3-70b" in arguments:
        pytest.skip("needs the table made by the command before it; test_importer makes the like")
    if arguments[0] == "calibrate" and arguments[1].startswith("-"):  # the README's reader has a GPU
        arguments += ["--device", "cpu", "--quick", "--model", "tiny.yaml"]
    if arguments[:2] == ["calibrate", "verify"]:
        arguments = ["calibrate", "verify", table(folder), "--device", "cpu", "--quick"]
    if arguments[1:2] == ["evidence"] and not (folder / "evidence").exists():
        pytest.skip("needs the evidence of the command before it")
    if arguments[0] == "validate" and "--quick" in arguments:
        arguments[1] = "short.jsonl"
        arguments += ["--device", "cpu", "--model", "tiny.yaml", "--slo", "1", "--window", "0.05", "--repeats", "1"]
        arguments += ["--cost", table(folder)]
    assert flowsim_command(arguments, folder)


@pytest.mark.parametrize(
    "start",
    [
        "$ flowsim compare example",
        "preemption         long prompt alone",
        "$ flowsim capacity",
        "$ flowsim validate tests/data/evidence/h200",
        "$ flowsim validate tests/data/evidence/*",
    ],
)
def test_output_shown_is_what_comes_out(start: str, folder: Path) -> None:
    shown = block_with(start).rstrip("\n")
    if shown.startswith("$"):
        command, _, shown = shown.partition("\n")
        arguments = [name for word in shlex.split(command)[2:] for name in in_shell(word, folder)]
    else:
        arguments = ["tradeoff"]
    assert TIMED.sub("", flowsim_command(arguments, folder)) == TIMED.sub("", shown)


def test_the_python_of_the_readme_runs() -> None:
    names: dict[str, object] = {}
    exec(block_with("import flowsim\n"), names)
    assert names["result"].attainment() == 1.0


def test_the_stated_errors_are_those_of_the_tables() -> None:
    assert accuracy.PAGE.read_text(encoding="utf-8") == accuracy.page()
    for row in accuracy.summary_rows():
        assert f"{row}\n" in README


def test_the_stated_nearness_is_that_of_the_evidence() -> None:
    for row in validation.rows():
        assert f"{row}\n" in VALIDATION


def test_files_named_exist() -> None:
    root = ROOT
    for name in re.findall(r"\]\(([\w/.]+)\)", README):
        assert (root / name).exists(), name
