"""The command line as a whole: help, and one clear line for whatever is wrong in any command."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

import flowsim
from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.cli.main import main
from support.cli import OWN, done, invoke, refused
from support.places import DATA

pytestmark = pytest.mark.usefixtures("folder")


PASSES = DATA / "passes" / "h200-llama3-8b"


def walk(command: click.Command, name: str) -> dict[str, click.Command]:
    inner = command.commands if isinstance(command, click.Group) else {}
    return {name: command} | {k: v for n, c in inner.items() for k, v in walk(c, f"{name} {n}").items()}


COMMANDS = walk(main, "flowsim")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_every_option_and_shows_an_example(name: str) -> None:
    text = done(*name.split()[1:], "--help")
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
    assert f"\n    {name} " in text or f"\n    {name}\n" in text
    assert "\\b" not in text


EXAMPLES = [
    line.strip()
    for command in COMMANDS.values()
    for line in (command.help or "").splitlines()
    if line.startswith("  flowsim ") and "calibrate" not in line
]


@pytest.mark.parametrize("line", sorted(set(EXAMPLES)))
def test_an_example_of_the_help_runs(line: str) -> None:
    flowsim.traces.write_trace(flowsim.example_trace().head(30), "trace.jsonl")
    flowsim.traces.write_trace(flowsim.example_trace().head(30), "trace.csv.gz", layout="jsonl")
    Path("my_module.py").write_text(OWN.replace("class Fine", "class MyPolicy").replace("(Fine)", "(MyPolicy)"))
    load_table("h200", "llama3-8b").save("my-table")
    Path("studies").mkdir()
    Path("studies/rate.yaml").write_text(
        "run: {trace: example, workload.limit: 30}\naxes: {workload.rate_rps: [4, 8]}\n"
    )
    assert done(*shlex.split(line)[1:])


def test_without_arguments_there_is_help() -> None:
    result = invoke()
    assert result.exit_code == 2
    assert result.stdout.startswith("Usage: flowsim [OPTIONS] COMMAND")
    lines = result.stdout.partition("Options:\n")[2].splitlines()
    listed = {line.split()[0] for line in lines if line.startswith("  ") and line[2].isalpha()}
    assert listed == set(main.commands)


def test_the_help_of_a_run_lists_its_options_by_section() -> None:
    text = done("run", "--help")
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Options:", "Costs:", "Workload:", "SLOs:", "Replay:", "Server:"]
    assert "--slots" in text.partition("Server:\n")[2]
    assert "--out" in text.partition("Options:\n")[2].partition("Costs:\n")[0]


def test_the_version() -> None:
    assert done("--version") == f"flowsim {flowsim.run('example', limit=1).summary['inputs']['version']}\n"


@pytest.mark.parametrize(
    "command",
    ["run", "traces info", "validate", "sweep --out results", "plot", "capacity", "run t.jsonl --cost", "compare"],
)
def test_a_name_that_is_too_long_is_not_read(command: str) -> None:
    assert refused(*command.split(), "n" * 256).count("File name too long") == 1


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("runn", "No such command 'runn'. Did you mean 'run'?"),
        ("run", "Missing argument 'TRACE'."),
        ("compare", "Missing argument 'TRACE'."),
        ("compare t.jsonl --policy fcfs --policy fcfs", "policy 'fcfs': is given twice"),
        ("compare t.jsonl --against edf", "unknown policy 'edf' of the comparison"),
        ("tradeoff --tokens 0", "--tokens must be a whole number from 1 to 1048576 (2^20), got 0"),
        ("tradeoff --tokens 99999999999", "--tokens must be a whole number from 1 to 1048576 (2^20), got 99999999999"),
        ("tradeoff --gpu h20", "--gpu: there is no table of h20 (known: h100, h200)"),
        ("calibrate", "--out: is missing; expected a folder for the table"),
        ("calibrate --out t.jsonl", "t.jsonl: is a file; expected a folder, new or existing"),
        ("calibrate --out .", ".: holds "),
        (f"calibrate report {PASSES}", f"{PASSES}: has no operators, only passes"),
        (f"calibrate compare {PASSES} {PASSES}", f"{PASSES}: has no operators, only passes"),
        (
            "calibrate --out table --device cpu --model llama3",
            "model: unknown model 'llama3'; did you mean",
        ),
    ],
)
def test_a_wrong_command_is_refused(command: str, message: str) -> None:
    assert refused(*command.split()).startswith(message)


def test_the_command_is_installed() -> None:
    command = shutil.which("flowsim", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("flowsim is not installed next to this Python")
    result = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("flowsim ")


@pytest.mark.parametrize(
    ("typed", "offered"), [("flowsim ca", ["calibrate", "capacity"]), ("flowsim plot x --fa", ["--facet"])]
)
def test_a_shell_completes_commands_and_options(
    typed: str, offered: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_FLOWSIM_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    with pytest.raises(SystemExit) as exit_:
        main([], prog_name="flowsim")
    assert exit_.value.code == 0
    assert capsys.readouterr().out.split() == [f"plain,{word}" for word in offered]
