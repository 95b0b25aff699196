"""`flowsim validate` as it is typed: of two policies, on the CPU; and evidence that needs neither GPU nor torch."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from flowsim.calibration.costs.models import ModelSpec
from flowsim.calibration.gpu_engine.replay import Replay
from flowsim.cli.main import main
from flowsim.core.server import ServerOptions
from flowsim.core.slo_mix import SLOMix
from flowsim.traces import Trace
from flowsim.validation.case import Case
from flowsim.validation.evidence import Evidence, Recorded, write_about
from flowsim.validation.gpu_runs import as_run
from support.places import DATA
from support.trace_format import saved_timeline, told

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


def check_timeline(folder: Path, place: Path) -> None:
    """The timeline of evidence keeps the rules of its format, and its real runs have the times of the evidence."""
    evidence = Evidence.load(folder)
    events = saved_timeline(folder, place)
    names = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    process = {name: pid for pid, name in names.items()}
    expected = []
    for of in evidence.recorded:
        real = [f"{of.case.name}, real {number}" for number in range(1, len(of.runs) + 1)]
        lanes = [f"{of.case.name}, simulated", *real]
        expected += [f"{lane}: {what}" for lane in lanes for what in ("instance 0", "requests")]
        for name, run in zip(real, of.runs, strict=True):
            instance = process[f"{name}: instance 0"]
            passes = [e for e in told(events, "X", instance) if e["cat"] == "pass"]
            kept = [id for id, time_s in enumerate(run.finished_s) if time_s is not None]
            assert sorted(id for e in passes for id in e["args"].get("finished", ())) == kept
            assert sum(e["dur"] for e in passes) / 1e6 == pytest.approx(run.busy_s, abs=2e-6 * len(passes))
            stopped = [e for e in passes if e["args"]["end"] == "stopped"]
            assert len(told(events, "s", instance)) == len(stopped) >= len(run.pauses)
            requests = told(events, "e", process[f"{name}: requests"])
            ended_s = {int(e["id"], 16): e["ts"] / 1e6 for e in requests if e["name"] == e["cat"]}
            assert [ended_s[id] for id in kept] == pytest.approx([run.finished_s[id] for id in kept], abs=1e-9)
            waited_s = {int(e["id"], 16): e["ts"] / 1e6 for e in requests if e["name"].endswith(" waiting")}
            assert [waited_s[id] for id in kept] == pytest.approx([run.started_s[id] for id in kept], abs=1e-9)
    assert list(names.values()) == expected
