"""Results of each kind, with a trace, a table, an SLO file and a policy of the user's own, and their bundles."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import flowsim
from flowsim.calibration.costs.table_catalogue import load_table
from support.archive import COMMANDS, command

POLICY = """
from dataclasses import dataclass
import own_helper_
from flowsim import Moving, Pass, Request
KEY = Moving(key=lambda request, now: own_helper_.SIGN * request.arrival_s)

@dataclass(frozen=True)
class Mine:
    cut: str = "none"
    wake: str = "events"
    def choose(self, view):
        best = view.first(KEY)
        return Pass.whole(best) if isinstance(best, Request) else best
"""
STUDY = """
run: {trace: data/trace.jsonl, slo: slo.yaml, cost: table, workload.limit: 40}
axes: {policy: [fcfs, "own_policy_:Mine"], workload.rate_scale: [1, 8]}
requests: true
"""
SHIPPED = "run: {trace: example, workload.limit: 40, slo: 0.5}\naxes: {policy: [fcfs, edf]}\n"


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all that the runs read."""
    place = tmp_path_factory.mktemp("workshop")
    (place / "data").mkdir()
    flowsim.traces.write_trace(flowsim.example_trace().head(60), place / "data" / "trace.jsonl", layout="jsonl")
    load_table("h200", "llama3-8b").save(place / "table")
    texts = {"slo.yaml": "ttft_s: {text: 0.5, '*': 2}\n", "own_policy_.py": POLICY, "own_helper_.py": "SIGN = -1\n"}
    for name, text in {**texts, "study.yaml": STUDY, "shipped.yaml": SHIPPED}.items():
        (place / name).write_text(text)
    return place


@pytest.fixture(scope="session")
def bundled(workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The bundle of results of this kind, in a folder of its own."""
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            assert command(workshop, COMMANDS[kind], "--out", kind, "-q").exit_code == 0
            archive = tmp_path_factory.mktemp("bundles") / f"{kind}.zip"
            done = command(workshop, f"bundle {kind} --out {archive}")
            assert (done.exit_code, done.stderr) == (0, "")
            made[kind] = archive
        return made[kind]

    return make


@pytest.fixture
def elsewhere(workshop: Path, tmp_path: Path, bundled: Callable[[str], Path]) -> Callable[[str], Path]:
    """A bundle of this kind on a machine that has nothing else of the workshop."""

    def carry(kind: str) -> Path:
        return Path(shutil.copy(bundled(kind), tmp_path / f"{kind}.zip"))

    return carry
