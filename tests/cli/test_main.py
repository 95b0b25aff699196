"""The command line: what it writes, that it repeats itself to the byte, and one clear line for whatever is wrong."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner, Result

import flowsim
from flowsim.calibration.costs.catalogue import load_table
from flowsim.cli.main import main
from flowsim.io.progress import bar
from flowsim.policies.registry import NAMES
from flowsim.traces.columns import CLASS, LENGTH, SECONDS
from support.places import DATA

FILES = {"config.yaml", "requests.parquet", "summary.json"}
PASSES = DATA / "passes" / "h200-llama3-8b"
ROWS = [
    {"arrival_s": 0, "input_length": 100, "output_length": 5, "class": "text"},
    {"arrival_s": 1, "input_length": 200, "class": "search"},
    {"arrival_s": 2, "input_length": 300, "class": "text"},
]
OWN = """
import os, pathlib, time
from flowsim import Pass

class Fine:
    cut, wake = "none", "events"
    def choose(self, view):
        return Pass.whole(*view.waiting) if view.waiting and not view.running else None

class Blind:
    cut, wake = "none", "events"

class Vague(Fine):
    cut = "often"

class Raises(Fine):
    def choose(self, view):
        return {}["x"]

class BadOrder(Fine):
    def choose(self, view):
        return view.first("deadline")

class Stillborn(Fine):
    def __init__(self, speed=1):
        raise RuntimeError("no speed")

class Text(Fine):
    def choose(self, view):
        return "the first"

class Bare(Fine):
    def choose(self, view):
        return next(iter(view.waiting))

class Unpaired(Fine):
    def choose(self, view):
        return Pass(tuple(view.waiting))

class Empty(Fine):
    def choose(self, view):
        return Pass(())

class Greedy(Fine):
    def choose(self, view):
        return Pass(((next(iter(view.waiting)), 10**6),))

class Half(Fine):
    def choose(self, view):
        return Pass(((next(iter(view.waiting)), 0.5),))

class Slow(Fine):
    def choose(self, view):
        pathlib.Path("running").touch()
        time.sleep(60)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a trace, policies of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    write("t.jsonl", *ROWS)
    Path("own_policies.py").write_text(OWN)
    monkeypatch.delitem(sys.modules, "own_policies", raising=False)
    return tmp_path


def write(name: str, *rows: object) -> str:
    Path(name).write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return name


def invoke(*arguments: str) -> Result:
    """What a command did; a traceback fails the test."""
    result = CliRunner().invoke(main, arguments, prog_name="flowsim")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def done(*arguments: str) -> str:
    """What a command printed that went well."""
    result = invoke(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def tree() -> dict[str, bytes]:
    """Every file in the current folder; compiled policies do not count."""
    files = (path for path in Path().rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path): path.read_bytes() for path in files}


def refused(*arguments: str) -> str:
    """The line that a command said which could do nothing: on stderr, status 2, nothing printed, nothing written."""
    before = tree()
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.startswith("flowsim: error: ")
    assert result.stderr.count("\n") == 1
    assert tree() == before
    return result.stderr.removeprefix("flowsim: error: ").rstrip()


def shell(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flowsim.cli.main", *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


# Help.


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


def test_the_tokens_of_a_block_are_an_option() -> None:
    done("run", "example", "--policy", "fcfs", "--block-tokens", "64", "--out", "results")
    assert yaml.safe_load(Path("results/config.yaml").read_text())["server"]["block_tokens"] == 64
    assert refused("run", "example", "--block-tokens", "0") == "--block-tokens must be >= 1, got 0"


def test_without_arguments_there_is_help() -> None:
    result = invoke()
    assert result.exit_code == 2
    assert result.stdout.startswith("Usage: flowsim [OPTIONS] COMMAND")
    assert {name for name in COMMANDS if name.count(" ") == 1} == {
        f"flowsim {line.split()[0]}" for line in listed(result.stdout)
    }


def listed(text: str) -> list[str]:
    lines = text.partition("Commands:\n")[2].splitlines()
    return [line for line in lines if line.startswith("  ") and line[2] != " "]


def test_the_version() -> None:
    assert done("--version") == f"flowsim {flowsim.run('example', limit=1).summary['inputs']['version']}\n"


def test_every_policy_is_listed_with_its_options() -> None:
    text = done("policies")
    assert set(NAMES) <= {line.split()[0] for line in text.splitlines() if line.strip()}
    assert "batch_tokens=2048" in text


# What a run leaves.


def test_out_leaves_three_files_and_says_so() -> None:
    text = done("run", "t.jsonl", "--out", "results")
    assert {path.name for path in Path("results").iterdir()} == FILES
    assert text.splitlines()[-1] == "saved summary.json, requests.parquet and config.yaml in results"
    assert json.loads(Path("results/summary.json").read_text())["requests"] == 3


def test_quiet_prints_nothing() -> None:
    assert done("run", "t.jsonl", "--quiet", "--out", "results") == ""
    assert {path.name for path in Path("results").iterdir()} == FILES


def test_without_out_nothing_is_written() -> None:
    before = tree()
    done("run", "t.jsonl")
    done("compare", "t.jsonl", "--policy", "fcfs", "--policy", "edf")
    assert tree() == before


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--policy", "own_policies:Fine", "--slo", "0.5", "--instances", "2", "--router", "least-work"),
        ("--rate-scale", "3", "--limit", "2", "--window", "0.5:", "--seed", "4", "--predictor", "noisy:0.2"),
        ("--slo", "mix.yaml", "--slo-scale", "2", "--until", "1.5", "--format", "flowsim", "--kv-tokens", "250"),
        ("--cost", "table", "--slots", "2", "--max-batched-tokens", "128"),
    ],
)
def test_the_config_of_a_run_runs_it_again_to_the_byte(options: tuple[str, ...]) -> None:
    Path("mix.yaml").write_text("ttft_s: {text: 0.2, '*': 1.0}\n")
    load_table("h200", "llama3-8b").save("table")
    done("run", "t.jsonl", *options, "--out", "first")
    done("run", "first/config.yaml", "--out", "second")
    for name in FILES:
        assert Path("first", name).read_bytes() == Path("second", name).read_bytes(), name


def test_a_trace_on_ticks_is_spread_the_same_way_again() -> None:
    rows = [{"timestamp": 3000 * (i // 9), "input_length": 500, "output_length": 1, "hash_ids": [i]} for i in range(45)]
    write("ticks.jsonl", *rows)
    done("run", "ticks.jsonl", "--seed", "5", "--out", "first")
    done("run", "first/config.yaml", "--out", "second")
    done("run", "ticks.jsonl", "--seed", "6", "--out", "third")
    first, second, third = (Path(name, "requests.parquet").read_bytes() for name in ("first", "second", "third"))
    assert first == second != third


def test_a_config_says_all_of_a_run() -> None:
    done("run", "t.jsonl", "--out", "results")
    message = refused("run", "results/config.yaml", "--rate-scale", "2", "--until", "5", "--out", "x")
    assert message == "results/config.yaml: holds every option of the run; leave out --rate-scale, --until"


def test_a_comparison_leaves_a_figure_a_table_and_the_results_of_each() -> None:
    text = done("compare", "t.jsonl", "--policy", "fcfs", "--policy", "chunked:128", "--out", "results")
    assert set(tree()) - {"t.jsonl", "own_policies.py"} == {
        "results/comparison.csv",
        "results/comparison.png",
        *(f"results/{policy}/{name}" for policy in ("fcfs", "chunked-128") for name in FILES),
    }
    assert "saved comparison.png, comparison.csv and a folder for each policy in results" in text
    done("run", "results/chunked-128/config.yaml", "--out", "again")
    for name in FILES:
        assert Path("results/chunked-128", name).read_bytes() == Path("again", name).read_bytes(), name


def test_two_processes_leave_the_same_bytes() -> None:
    flowsim.traces.write_trace(flowsim.example_trace().head(60), "trace.jsonl")
    said = []
    for seed in ("1", "2"):
        before = tree()
        command = ("compare", "trace.jsonl", "--rate-scale", "4", "--predictor", "noisy:0.2", "--out", f"out{seed}")
        result = shell(*command, PYTHONHASHSEED=seed)
        assert (result.returncode, result.stderr) == (0, "")
        said.append(result.stdout.replace(f"out{seed}", "out"))
        assert len(tree()) == len(before) + 11
    assert said[0] == said[1]
    first, second = ({p.removeprefix(f"out{i}/"): b for p, b in tree().items() if f"out{i}/" in p} for i in "12")
    assert first == second


def test_results_are_replaced_and_other_files_stay() -> None:
    done("run", "t.jsonl", "--out", "results", "--limit", "1")
    Path("results/notes.txt").write_text("mine")
    done("run", "t.jsonl", "--out", "results")
    assert {path.name for path in Path("results").iterdir()} == FILES | {"notes.txt"}
    assert json.loads(Path("results/summary.json").read_text())["requests"] == 3


def test_parents_of_the_output_folder_are_made() -> None:
    done("run", "t.jsonl", "--out", "deep/er/results")
    assert {path.name for path in Path("deep/er/results").iterdir()} == FILES


def test_names_that_look_like_markup_are_shown_as_they_are() -> None:
    write("m[1].jsonl", ROWS[0] | {"class": "[red]x"}, ROWS[1] | {"class": "[/b]"}, ROWS[2] | {"class": "$x$ :+1:"})
    text = done("compare", "m[1].jsonl", "--slo", "0.5", "--out", "results")
    assert all(name in text for name in ("m[1].jsonl", "[red]x", "[/b]", "$x$ :+1:"))


# What is said without refusing.


def test_rows_out_of_order_are_sorted_and_that_is_said() -> None:
    write("t.jsonl", ROWS[2], ROWS[0], ROWS[1])
    text = done("run", "t.jsonl")
    assert "sorted by arrival: 1 request had an earlier time than the one before" in text


def test_requests_larger_than_the_cache_are_counted_as_rejected() -> None:
    text = done("run", "t.jsonl", "--kv-tokens", "256", "--out", "results")
    assert "unfinished 0, rejected 1; longest wait" in text
    summary = json.loads(Path("results/summary.json").read_text())
    assert (summary["rejected"], summary["finished"], summary["classes"]["text"]["attainment"]) == (1, 2, 0.5)


def test_a_run_in_which_nothing_finishes_still_reports() -> None:
    text = done("compare", "t.jsonl", "--kv-tokens", "16", "--policy", "fcfs", "--policy", "edf", "--out", "results")
    assert text.count("0.0 %") >= 2
    done("run", "t.jsonl", "--until", "1e-9", "--out", "cut")
    summary = json.loads(Path("cut/summary.json").read_text())
    assert (summary["unfinished"], summary["undecided"], summary["goodput_rps"]) == (1, 1, None)


# What is refused: traces.


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "bad.jsonl: is empty; expected one request per line"),
        ("{oops\n", "bad.jsonl: line 2: is not JSON (Expecting property name enclosed in double quotes): '{oops'"),
        ('{"arrival_s": 1}\n', "bad.jsonl: line 2: has no field 'input_length' among 'arrival_s'"),
        (
            '{"arrival_s": 1, "input_length": -5}\n',
            f"bad.jsonl: line 2: input_length must be {LENGTH}, got -5",
        ),
        (
            '{"arrival_s": 1, "input_length": 0}\n',
            f"bad.jsonl: line 2: input_length must be {LENGTH}, got 0",
        ),
        (
            '{"arrival_s": 1, "input_length": 1.5}\n',
            f"line 2: input_length must be {LENGTH}, got 1.5",
        ),
        (
            '{"arrival_s": 1, "input_length": "9"}\n',
            f"line 2: input_length must be {LENGTH}, got '9'",
        ),
        (
            '{"arrival_s": 1, "input_length": NaN}\n',
            f"line 2: input_length must be {LENGTH}, got nan",
        ),
        (
            '{"arrival_s": NaN, "input_length": 5}\n',
            f"line 2: arrival_s must be {SECONDS}, got nan",
        ),
        (
            '{"arrival_s": -1, "input_length": 5}\n',
            f"line 2: arrival_s must be {SECONDS}, got -1",
        ),
        (
            '{"arrival_s": 1, "input_length": 5, "class": 7}\n',
            f"line 2: class must be {CLASS}, got 7",
        ),
        ("[1]\n", "line 2: is not a JSON object: [1]; expected one JSON object per line"),
    ],
)
def test_a_wrong_trace_is_refused(content: str, message: str) -> None:
    write("bad.jsonl", *([ROWS[0]] if content else []), content)
    assert message in refused("run", "bad.jsonl", "--out", "results")
    assert message in refused("compare", "bad.jsonl", "--out", "results")


def test_what_is_no_trace_is_refused() -> None:
    assert refused("run", "absent.jsonl").startswith(
        "absent.jsonl: no such file; expected a trace file or a built-in trace"
    )
    Path("some").mkdir()
    assert refused("run", "some") == "some: is a folder; expected a trace file"
    Path("raw.bin").write_bytes(b"\xff\xfe\x00\x01")
    assert refused("run", "raw.bin").startswith("raw.bin: line 1: byte 0xff is not UTF-8")
    write("csv.csv", "a,b\n1,2\n")
    assert refused("run", "csv.csv").startswith("csv.csv: line 1: has csv fields that fit no known format")


# What is refused: names, numbers, folders.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "--policy fcfss",
            "--policy: unknown policy 'fcfss'; did you mean 'fcfs'? (known: chunked, edf, fcfs, flowprefill, sjf)",
        ),
        ("--policy flowprefill:cutt=layer", "unknown option of policy flowprefill 'cutt'; did you mean 'cut'?"),
        ("--policy flowprefill:cut=lair", "unknown cut 'lair'; did you mean 'layer'?"),
        ("--policy chunked:0", "option budget must be >= 1, got 0"),
        ("--policy chunked:many", "option budget must be a whole number, got 'many'"),
        ("--predictor cubik", "--predictor: unknown predictor 'cubik'; did you mean 'cubic'?"),
        ("--predictor biased:0", "predictor must be biased:NUMBER with a number from 0.001 to 1000, got 'biased:0'"),
        ("--predictor noisy", "predictor must be noisy:NUMBER with a number from 0 to 10, got 'noisy'"),
        ("--router lest-work", "--router: unknown router 'lest-work'; did you mean 'least-work'?"),
        ("--format qwenn", "unknown trace format 'qwenn'; did you mean 'qwen'?"),
        ("--format azure", "t.jsonl: line 1: has no field 'TIMESTAMP' among 'arrival_s"),
        ("--model llama3-80b", "--model: unknown model on h200 'llama3-80b'; did you mean 'llama3-8b'?"),
        ("--gpu h201", "--gpu: unknown gpu 'h201'; did you mean 'h200'?"),
        ("--tp 3", "--tp: unknown tp of llama3-8b on h200 '3' (known: 1, 2, 4, 8)"),
        ("--slo qwen2.5-14", "--slo: unknown SLO mix 'qwen2.5-14'; did you mean 'qwen2.5-14b'?"),
        ("--slo 0", "class '*' must be a positive number of seconds, got 0.0"),
        ("--slo text=soon", "--slo must be CLASS=SECONDS pairs, got 'text=soon'"),
        ("--slo audio=1", "t: no request gets an SLO from the mix 'audio=1', which has audio; expected SLOs of"),
        ("--slo absent.yaml", "absent.yaml: cannot be read: No such file or directory; expected a mapping with"),
        ("--slo-scale 0", "--slo-scale must be > 0, got 0.0"),
        ("--slo-scale nan", "--slo-scale must be a number > 0, got nan"),
        ("--rate-scale 0", "--rate-scale must be > 0, got 0.0"),
        ("--rate-scale nan", "--rate-scale must be a number > 0, got nan"),
        ("--rate-scale -1", "--rate-scale must be > 0, got -1.0"),
        ("--rate-scale 1e-300", "rate factor must be finite and > 0, with all times <= 2**40 s, got 1e-300"),
        ("--rate-scale fast", "Invalid value for '--rate-scale': 'fast' is not a valid float."),
        ("--limit 5 --limit 5", "--limit: is given twice"),
        ("--limit 0", "--limit must be >= 1, got 0"),
        ("--limit few", "Invalid value for '--limit': 'few' is not a valid integer."),
        ("--window nonsense", "--window must be FROM:TO in seconds, with 0 <= FROM < TO, got 'nonsense'"),
        ("--window 5:1", "--window must be FROM:TO in seconds, with 0 <= FROM < TO, got '5:1'"),
        ("--window 5", "--window must be FROM:TO in seconds, with 0 <= FROM < TO, got '5'"),
        ("--window nan:", "--window must be FROM:TO in seconds, with 0 <= FROM < TO, got 'nan:'"),
        ("--window 100:200", "no request arrives from 100 s to 200 s; expected a window within 0 to 2 s"),
        ("--instances 0", "--instances must be >= 1, got 0"),
        ("--slots 0", "--slots must be >= 1, got 0"),
        ("--kv-tokens 0", "--kv-tokens must be >= 1, got 0"),
        ("--max-batched-tokens -8", "--max-batched-tokens must be >= 1, got -8"),
        ("--graph-tokens 100", "--graph-tokens must be a multiple of 64, got 100"),
        (
            "--graph-tokens 64 --tp 2",
            "--graph-tokens: h200/llama3-8b/tp2 was measured without recorded forwards; expected 0",
        ),
        ("--until -1", "--until must be > 0, got -1.0"),
        ("--until nan", "--until must be a number > 0, got nan"),
        ("--seed -1", "--seed must be >= 0, got -1"),
        ("--polcy fcfs", "No such option '--polcy'. Did you mean '--policy'?"),
        ("--cost absent --gpu h200 --tp 2", "--gpu, --tp: given together with --cost, whose table says it"),
        ("--cost absent", "absent: is not a folder; expected an operator table (shipped tables are named by --gpu"),
        ("--cost t.jsonl", "t.jsonl: is not a folder; expected an operator table"),
        ("--cost=", "--cost must be a folder, got ''"),
        ("--out t.jsonl", "t.jsonl: is a file; expected a folder, new or existing"),
        ("--out t.jsonl/deeper", "t.jsonl/deeper: cannot be written"),
        ("more", "Got unexpected extra argument (more)"),
    ],
)
def test_a_wrong_option_is_refused(options: str, message: str) -> None:
    out = [] if "--out" in options else ["--out", "results"]
    assert message in refused("run", "t.jsonl", *options.split(), *out)
    if "extra argument" not in message:
        assert message in refused("compare", "t.jsonl", *options.split(), *out)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_folder_that_may_not_be_written() -> None:
    Path("closed").mkdir(mode=0o555)
    assert "cannot be written" in refused("run", "t.jsonl", "--out", "closed/results")


@pytest.mark.parametrize(
    "command",
    ["run t.jsonl", "compare t.jsonl", "sweep s.yaml", "capacity t.jsonl", "plot results", "traces scale t.jsonl 2"],
)
def test_an_empty_output_is_refused(command: str) -> None:
    assert refused(*command.split(), "--out", "").startswith("--out must be a f")


@pytest.mark.parametrize("name", ["n" * 256, f"new/{'n' * 256}"])
def test_a_name_that_is_too_long_is_refused(name: str) -> None:
    assert refused("run", "t.jsonl", "--out", name) == f"{name}: cannot be written (File name too long)"


@pytest.mark.parametrize(
    "command",
    ["run", "traces info", "validate", "sweep --out results", "plot", "capacity", "run t.jsonl --cost", "compare"],
)
def test_a_name_that_is_too_long_is_not_read(command: str) -> None:
    assert refused(*command.split(), "n" * 256).count("File name too long") == 1


def test_a_circle_of_links_is_refused() -> None:
    Path("loop.jsonl").symlink_to("loop.jsonl")
    assert refused("run", "loop.jsonl") == "loop.jsonl: cannot be read (Too many levels of symbolic links)"


def test_an_output_that_fails_late_is_refused_all_the_same() -> None:
    Path("results/summary.json").mkdir(parents=True)
    before = tree()
    result = invoke("run", "t.jsonl", "--quiet", "--out", "results")
    assert result.exit_code == 2
    assert result.stderr == "flowsim: error: results/summary.json: is in the way of a file of that name\n"
    assert tree() == before


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("runn", "No such command 'runn'. Did you mean 'run'?"),
        ("run", "Missing argument 'TRACE'."),
        ("compare", "Missing argument 'TRACE'."),
        ("compare t.jsonl --policy fcfs --policy fcfs", "policy 'fcfs': is given twice"),
        ("tradeoff --tokens 0", "--tokens must be a whole number from 1 to 1048576 (2^20), got 0"),
        ("tradeoff --tokens 99999999999", "--tokens must be a whole number from 1 to 1048576 (2^20), got 99999999999"),
        ("tradeoff --gpu h20", "--gpu: unknown gpu 'h20'; did you mean 'h200'?"),
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


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"polcy": "fcfs"}, "unknown option 'polcy'; did you mean 'policy'?"),
        ({"server": {"instancs": 2}}, "unknown option 'server.instancs'; did you mean 'server.instances'?"),
        ({"server": {"instances": "two"}}, "server.instances must be a whole number >= 1, got 'two'"),
        ({"workload": {"limit": "few"}}, "workload.limit must be a whole number >= 1, got 'few'"),
        ({"workload": {"window": [1]}}, "workload.window must be FROM:TO in seconds, with 0 <= FROM < TO, got [1.0]"),
    ],
)
def test_a_wrong_config_is_refused(values: dict[str, Any], message: str) -> None:
    Path("c.yaml").write_text(yaml.safe_dump({"trace": "t.jsonl"} | values))
    assert refused("run", "c.yaml", "--out", "results").startswith(f"c.yaml: {message}")


# What is refused: policies of one's own.


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("absent:Fine", "policy 'absent:Fine': cannot import 'absent': No module named 'absent'"),
        ("syntax:Fine", "policy 'syntax:Fine': cannot import 'syntax': invalid syntax (syntax.py, line 1)"),
        ("zero:Fine", "cannot import 'zero': ZeroDivisionError: division by zero (zero.py, line 1)"),
        ("own_policies:Fien", "unknown policy class in module own_policies 'Fien'; did you mean 'Fine'?"),
        ("own_policies:Fine:speed=2", "'speed'"),
        ("own_policies:Blind", "policy Blind: has no method choose(view)"),
        ("own_policies:Vague", "unknown cut 'often' (known: block, chunk, layer, none, operator)"),
        ("own_policies:Stillborn", "policy 'own_policies:Stillborn': RuntimeError: no speed (own_policies.py, line 2"),
        ("own_policies:Raises", "policy Raises at 0.000075 s: raised KeyError: 'x' (own_policies.py, line 1"),
        (
            "own_policies:BadOrder",
            "policy BadOrder at 0.000075 s: raised AttributeError: 'str' object has no attribute",
        ),
        ("own_policies:Text", "chose 'the first'; expected a Pass, a paused or the running Execution, or None"),
        ("own_policies:Bare", "chose Request(0, arrived 0.000 s, due 0.250 s, 0 of 100 tokens computed); expected"),
        ("own_policies:Unpaired", "expected pairs of a request and its tokens"),
        ("own_policies:Empty", "policy Empty at 0.000075 s: chose a pass without requests"),
        ("own_policies:Greedy", "policy Greedy at 0.000075 s: chose 1000000 tokens of Request(0,"),
        ("own_policies:Half", "policy Half at 0.000075 s: chose 0.5 tokens of Request(0,"),
    ],
)
def test_a_broken_policy_of_ones_own_is_refused(policy: str, message: str) -> None:
    Path("syntax.py").write_text("x = = 1\n")
    Path("zero.py").write_text("1 / 0\n")
    assert message in refused("run", "t.jsonl", "--policy", policy, "--out", "results")


# What is refused: damaged tables.


def without(path: Path, start: str) -> None:
    path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith(start)))


def doubled(path: Path, start: str) -> None:
    text = path.read_text()
    path.write_text(text + next(line for line in text.splitlines(True) if line.startswith(start)))


def cut_short(path: Path, start: str) -> None:
    path.write_text(path.read_text()[:1000])


def emptied(path: Path, start: str) -> None:
    path.write_text("")


def longer(path: Path, start: str) -> None:
    first, second, third, *rest = path.read_text().splitlines(True)
    path.write_text("".join([first, second, third.replace("\n", ",x,y\n"), *rest]))


def zero_tokens(path: Path, start: str) -> None:
    first, second, *rest = path.read_text().splitlines(keepends=True)
    operator, _, *others = second.split(",")
    path.write_text("".join([first, ",".join([operator, "0", *others]), *rest]))


def elsewhere(path: Path, start: str) -> None:
    path.write_text(path.read_text().replace("gpu: h200\n", "gpu: ../h200\n"))


def no_multiprocessors(path: Path, start: str) -> None:
    path.write_text(path.read_text().replace("multiprocessors: 132", "multiprocessors: 0"))


def removed(path: Path, start: str) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "file", "start", "message"),
    [
        (removed, "provenance.yaml", "", "provenance.yaml: cannot be read: No such file"),
        (removed, "operators.csv", "", "operators.csv: cannot be read: No such file"),
        (removed, "passes.csv", "", "passes.csv: cannot be read: No such file"),
        (emptied, "provenance.yaml", "", "provenance.yaml must be the provenance of an operator table, got nothing"),
        (emptied, "operators.csv", "", "operators.csv: row 1: lacks the columns operator, tokens"),
        (cut_short, "operators.csv", "", "operators.csv: row "),
        (cut_short, "passes.csv", "", "passes.csv: row "),
        (without, "operators.csv", "check,", "table: operators: no row of check"),
        (without, "operators.csv", "attention,", "table: operators: no row of attention"),
        (doubled, "operators.csv", "check,", "table: operators: two rows of check at 0@0"),
        (doubled, "operators.csv", "attention,", "table: operators: two rows of attention at 1@0"),
        (longer, "operators.csv", "", "operators.csv: row 3: has 11 fields; expected 9, as in row 1"),
        (
            zero_tokens,
            "operators.csv",
            "",
            "operators.csv: row 2: tokens must be >= 1 for norm_attn, got 0",
        ),
        (elsewhere, "provenance.yaml", "", "table: provenance: gpu must be a name without slashes"),
        (
            no_multiprocessors,
            "provenance.yaml",
            "",
            "table/provenance.yaml: multiprocessors must be >= 1, got 0",
        ),
        (without, "provenance.yaml", "tp:", "table: provenance: lacks tp"),
        (without, "provenance.yaml", "memory_bytes:", "table: provenance: lacks memory_bytes"),
        (without, "provenance.yaml", "gpu:", "table: provenance: lacks gpu"),
        (without, "provenance.yaml", "  hidden:", "table/provenance.yaml: model_spec: lacks hidden"),
        (
            without,
            "provenance.yaml",
            "schema_version:",
            "provenance.yaml: schema_version must be 1 (measure the table again)",
        ),
    ],
)
def test_a_damaged_table_is_refused(damage: Callable[..., None], file: str, start: str, message: str) -> None:
    load_table("h200", "llama3-8b").save("table")
    damage(Path("table", file), start)
    assert message in refused("run", "t.jsonl", "--cost", "table", "--out", "results")


def test_a_tradeoff_beyond_the_measured_sizes_says_so() -> None:
    assert "extrapolated" not in invoke("tradeoff", "--tokens", "16384").stdout
    beyond = "prompts of 40,000 tokens reach beyond the measured sizes: extrapolated"
    assert invoke("tradeoff", "--tokens", "40000").stdout.endswith(f"{beyond}\n")


def test_a_damaged_table_of_a_catalogue_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSIM_TABLES", "tables")
    load_table("h200", "llama3-8b").save("tables/h200/llama3-8b/tp1")
    no_multiprocessors(Path("tables/h200/llama3-8b/tp1/provenance.yaml"), "")
    message = "tables/h200/llama3-8b/tp1/provenance.yaml: multiprocessors must be >= 1, got 0"
    assert refused("run", "t.jsonl", "--out", "results") == message
    assert refused("tradeoff") == message


def test_slos_are_those_of_the_model_that_the_costs_are_of() -> None:
    load_table("h200", "qwen3-8b").save("other")
    said = refused("run", "t.jsonl", "--cost", "other")
    assert said.startswith("--slo: no TTFT SLOs are known for the model 'qwen3-8b'")
    load_table("h200", "qwen2.5-14b").save("known")
    assert "text 0.4 s" in invoke("run", "t.jsonl", "--cost", "known").stdout


# In a shell.


def test_errors_in_a_shell_have_no_traceback() -> None:
    for arguments in (("run", "absent.jsonl"), ("run", "t.jsonl", "--policy", "own_policies:Raises"), ("runn",)):
        result = shell(*arguments)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith("flowsim: error: ")
        assert result.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_interruption_leaves_nothing_behind() -> None:
    before = set(tree())
    command = [
        sys.executable,
        "-m",
        "flowsim.cli.main",
        "run",
        "t.jsonl",
        "--policy",
        "own_policies:Slow",
        "--out",
        "results",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not Path("running").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, stdout, stderr.strip()) == (130, "", "flowsim: interrupted")
    assert set(tree()) == before | {"running"}
    assert not Path("results").exists()


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{shlex.quote(sys.executable)} -m flowsim.cli.main policies | true"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert "Traceback" not in result.stderr


def test_progress_is_a_bar_on_a_terminal_and_else_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    now_s = iter((0.0, 29.0, 31.0, 31.0, 40.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(now_s))
    with bar("measuring") as progress:
        assert progress is not None
        progress(1, 9)
        progress(2, 9, "layer 64@0")
        progress(3, 9)
    assert capfd.readouterr().err == "measuring: 2 of 9, layer 64@0\n"
    monkeypatch.undo()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with bar("replaying", quiet=True) as progress:
        assert progress is None
    with bar("replaying") as progress:
        assert progress is not None
        progress(500, 1000)
        progress(1000, 1000, "nearly there")
    assert capfd.readouterr().out == ""


def test_the_command_is_installed() -> None:
    command = shutil.which("flowsim", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("flowsim is not installed next to this Python")
    result = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("flowsim ")
