"""`flowsim validate` as it is typed: of two policies, on the CPU; and evidence that needs neither GPU nor torch."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result
from msgspec.structs import replace

from flowsim.calibration.costs.models import ModelSpec
from flowsim.calibration.serve.replay import Replay
from flowsim.cli.main import main
from flowsim.core.server import ServerOptions
from flowsim.core.slo import SLOMix
from flowsim.traces import Trace
from flowsim.validation.case import Case
from flowsim.validation.evidence import Evidence, Recorded, write_about
from flowsim.validation.gpu_runs import as_run
from support.places import DATA

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


def simulated_as_real(folder: Path) -> Path:
    """Evidence of two requests, one of which preempts the other, whose real run is what the simulation said."""
    kept = Evidence.load(DATA / "evidence" / "h200-llama3-8b-qwen-90")
    trace = Trace.of([0, 0.05], [8000, 100], classes=["patient", "urgent"], slo_s=[12, 0.2], name="two")
    settings = {"server": ServerOptions(kv_tokens=1 << 16), "predictor": "exact", "seed": 0}
    case = Case.of("edf", 0.9, trace, SLOMix.parse("trace").assign(trace), **settings)
    outcome = case.simulate(kept.cost, events=True).outcome
    assert outcome.events is not None
    run = as_run(Replay(outcome, [0.0], [], [-1, -1], 0, 0), {})
    kept.table.save(folder / "table")
    write_about(folder, replace(kept.about, cases=[case.slug]))
    Recorded(case, [run]).save(folder, outcome.events[0])
    return folder
