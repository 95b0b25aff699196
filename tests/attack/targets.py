"""What is attacked: valid inputs of every kind, and the commands that read them."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import yaml
from click.testing import CliRunner

import flowsim
from benchmarks.stack_coverage import served
from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.cli.main import main
from support.calibration import public_folder
from support.logs import bench_json
from support.places import DATA
from support.validation import simulated_as_real

STUDY = {
    "title": "a study",
    "run": {"trace": "t.csv", "warmup": 0.1, "slo": {"scale": 2}},
    "axes": {"policy": ["fcfs", "chunked:512"], "workload.rate_scale": [1, 4]},
    "requests": True,
}
SLOS = {"ttft_s": {"text": 0.25, "search": 4}, "rates": {"text": 3, "search": 1}}
POLICY = """
from flowsim import Pass

class Mine:
    cut, wake = "none", "events"

    def __init__(self, budget=512):
        self.budget = budget

    def choose(self, view):
        return Pass.whole(*view.waiting) if view.waiting and not view.running else None
"""


@dataclass(frozen=True)
class Target:
    """Files of one kind, and the commands that read them.

    Attributes:
        kind: of the files.
        place: the file, or the folder of files of which one is damaged each time.
        commands: command lines, run in the folder of `inputs`; one is drawn each time.
    """

    kind: str
    place: str
    commands: Sequence[str]

    def files(self, folder: Path) -> list[Path]:
        """The files of which one is damaged."""
        place = folder / self.place
        if place.is_file():
            return [place]
        return sorted(path for path in place.rglob("*") if path.is_file() and path.suffix not in (".png", ".svg"))


TARGETS = (
    Target("trace", "t.csv", ["run t.csv -q", "traces info t.csv", "bound t.csv"]),
    Target("trace", "t.jsonl", ["run t.jsonl -q", "traces convert t.jsonl --to qwen --out again.jsonl"]),
    Target("trace", "t.parquet", ["run t.parquet -q", "traces slice t.parquet 0:2 --out again.csv"]),
    Target("trace", "t.csv.gz", ["run t.csv.gz -q"]),
    Target("study", "study.yaml", ["sweep study.yaml --out new --workers 1 -q"]),
    Target("SLO file", "slos.yaml", ["run t.csv --slo slos.yaml -q", "explain t.csv --slo slos.yaml"]),
    Target("config", "run/config.yaml", ["run run/config.yaml -q", "explain run/config.yaml"]),
    Target("table", "table", ["run t.csv --cost table -q", "tradeoff --cost table"]),
    Target("model", "model.json", ["calibrate import public --model model.json --out new"]),
    Target("public table", "public", ["calibrate import public --model model.json --out new"]),
    Target("server log", "bench.json", ["calibrate server bench.json --out new.yaml", "run bench.json -q"]),
    Target("stack", "stack.yaml", ["run t.csv --stack stack.yaml -q"]),
    Target("run", "run", ["bundle run --out again.zip -q", "show run", "show run --json"]),
    Target("comparison", "compared", ["bundle compared --out again.zip -q", "show compared"]),
    Target(
        "study results",
        "done",
        [
            "plot done --out drawn", "show done",
            "sweep study.yaml --out done --workers 1", "bundle done --out again.zip -q",
            "sweep study.yaml --out done --workers 1 --against fcfs",
        ],
    ),
    Target("arena", "arena", ["show arena", "show arena --json", "show arena --html new.html"]),
    Target("evidence", "evidence", ["validate evidence -q --out page"]),
    Target("evidence", "kept/runs", ["show kept --timeline new.json", "validate kept -q --out page"]),
    Target("bundle", "done.zip", ["reproduce done.zip --workers 1 -q"]),
    Target("policy", "mine.py", ["run t.csv --policy mine:Mine -q", "policies mine:Mine"]),
)  # fmt: skip
UNTRUSTED = ("run", "comparison", "study results", "arena", "evidence", "bundle")
"""Kinds that are data alone."""
COMMANDS = (
    "run t.csv --policy chunked:512 --rate-scale 2 --slo text=0.5,*=1 --warmup 0.1 -q",
    "compare t.csv --policy fcfs --policy edf:cut=layer --against fcfs -q",
    "capacity t.csv --policy fcfs --replications 1 --target text=.9 --tolerance 0.5 --workers 1 -q",
    "sweep study.yaml --out new --workers 1 -q",
    "bound t.csv",
    "explain t.csv --policy fcfs --request 3",
    "tradeoff --tokens 8000 --tp 1",
    "traces synth qwen --requests 20 --rate 5 --out new.jsonl",
    "traces info t.csv --against t.jsonl",
    "policies flowprefill",
    "metrics",
    "models",
    "plot done --out drawn --select policy=fcfs",
    "validate evidence -q --out page",
    "reproduce done.zip -q --workers 1",
    "bundle done --out again.zip -q",
)
"""Command lines whose words are damaged."""


def make_inputs(folder: Path) -> None:
    """Write valid inputs of every kind into a new folder."""
    folder.mkdir()
    with chdir(folder):
        _make()


def read_all(pristine: Path, work: Path) -> None:
    """Every command takes the valid inputs: else damaged ones would be refused for another reason.

    All that the commands import is imported by then.
    """
    before = list(sys.path)
    for command in dict.fromkeys([command for target in TARGETS for command in target.commands] + list(COMMANDS)):
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(pristine, work)
        with chdir(work):
            result = CliRunner().invoke(main, command.split())
        assert isinstance(result.exception, SystemExit | None) and result.exit_code < 2, f"{command}: {result.output}"
    sys.path[:] = before
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _make() -> None:
    n = 40
    trace = flowsim.Trace.of(
        [0.1 * k for k in range(n)],
        [50 + 37 * k % 900 for k in range(n)],
        [k % 7 for k in range(n)],
        [("text", "search")[k % 2] for k in range(n)],
        priority=[k % 3 for k in range(n)],
        name="t",
    )
    for name in ("t.csv", "t.jsonl", "t.parquet", "t.csv.gz"):
        flowsim.traces.write_trace(trace, Path(name))
    Path("study.yaml").write_text(yaml.safe_dump(STUDY))
    Path("slos.yaml").write_text(yaml.safe_dump(SLOS))
    Path("mine.py").write_text(POLICY)
    flowsim.run("t.csv", "fcfs").save("run")
    flowsim.compare("t.csv", ["fcfs", "chunked:512"]).save("compared")
    flowsim.sweep("study.yaml", "done", workers=1)
    flowsim.compete(["edf"], only=True, requests=10, out="arena", workers=1).save("arena")
    flowsim.bundle("done", "done.zip")
    load_table("h200", "llama3-8b").save("table")
    shutil.copytree(DATA / "evidence" / "h200-llama3-8b-qwen", "evidence")
    simulated_as_real(Path("kept"))
    Path("model.json").write_text(MODEL)
    public_folder(Path("public"))
    Path("bench.json").write_text(bench_json(served(1, 60, frontend_s=0.02)))
    Path("stack.yaml").write_text("server: {frontend_s: 0.02, jitter: exponential:0.004}\n")
    for name in ("injection", *DECOYS):
        Path(f"{name}.py").write_text("open('injected', 'w').close()\n")


DECOYS = ("rich", "queue", "decimal", "matplotlib", "pandas", "pyarrow", "jinja2", "csv", "secrets", "zipfile")
"""Names of modules that flowsim or its dependencies import: not from the working folder."""
MODEL = """{"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
"num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 8192,
"rms_norm_eps": 1e-5, "rope_theta": 500000.0}
"""


def known_options() -> list[str]:
    """Every option of every command."""

    def options(command: object) -> Iterator[str]:
        for one in getattr(command, "params", ()):
            yield from (name for name in one.opts if name.startswith("-"))
        of: Mapping[str, object] = getattr(command, "commands", {})
        for inner in of.values():
            yield from options(inner)

    return sorted(set(options(main)))
