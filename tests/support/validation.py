"""`flowsim validate` as it is typed: of two policies, on the CPU."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from flowsim.calibration.costs.models import ModelSpec
from flowsim.cli.main import main

SPEC = ModelSpec("tiny", 2, 64, 4, 2, 16, 128, 97, 2048, 10000.0, 1e-5)


def command(out: str, *more: str) -> list[str]:
    """A validation of two policies; what `more` gives stands in place of what is given here."""
    policies = ["--policy", "fcfs", "--policy", "flowprefill"]
    plan = {"--rate-scale": "4", "--duration": "0.6", "--slo": "0.1"}
    place = {"--cost": "table", "--model": "tiny.yaml", "--device": "cpu", "--out": out}
    kept = [word for name, value in {**plan, **place}.items() if name not in more for word in (name, value)]
    return ["validate", "trace.jsonl", *policies, *kept, *more]


def invoke(arguments: list[str]) -> Result:
    return CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
