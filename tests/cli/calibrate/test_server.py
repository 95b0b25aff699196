"""`flowsim calibrate server` and `flowsim validate LOG`: from a log to its stack, and beside simulations."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from benchmarks.stack_coverage import served
from support.cli import done, refused, write
from support.logs import bench_json


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The log of a server with a constant of 20 ms, in the current folder."""
    monkeypatch.chdir(tmp_path)
    return write("bench.json", bench_json(served(0, n=60, gap_s=2.0, frontend_s=0.02)))


def test_from_a_log_to_a_stack_and_back(log: str) -> None:
    said = done("calibrate", "server", log, "--gpu", "h200", "--out", "fitted.yaml")
    assert "frontend_s" in said
    assert "saved the stack in fitted.yaml; use it with --stack fitted.yaml" in said
    file = yaml.safe_load(Path("fitted.yaml").read_text())
    assert file["server"]["frontend_s"] == pytest.approx(0.02, abs=0.001)
    assert file["fitted"]["requests"] == 60
    bare = done("validate", log, "--gpu", "h200", "--out", "bare")
    assert "costs  h200/llama3-8b/tp1" in bare and "SLOs   " in bare
    assert "constant      +20 ms" in bare
    assert "saved bare/validation.html" in bare
    beside = done("validate", log, "--gpu", "h200", "--stack", "fitted.yaml", "--out", "beside")
    assert "constant      +20 ms" not in beside
    assert Path("beside/validation.html").is_file()


def test_from_a_profile_to_a_stack() -> None:
    log = served(0, n=40, frontend_s=0.02, concurrency=1)
    rows = zip(log.input_length.tolist(), log.ttft_s.tolist(), strict=True)
    profile = write("solo.csv", "input_length,ttft_ms\n" + "".join(f"{n},{1e3 * ttft_s}\n" for n, ttft_s in rows))
    said = done("calibrate", "server", profile, "--gpu", "h200")
    assert "a profile: one request after another" in said
    assert yaml.safe_load(Path("stack.yaml").read_text())["server"]["frontend_s"] == pytest.approx(0.02, abs=0.003)
    beside = done("validate", profile, "--gpu", "h200", "--stack", "stack.yaml", "--out", "beside")
    assert "simulated as a closed loop too: 1 request outstanding" in beside
    assert beside.count("a profile: one request after another") == 1


def test_what_is_refused(log: str) -> None:
    assert refused("validate", log) == "--gpu: is missing; expected --gpu or --cost, whose table the simulation uses"
    said = refused("validate", log, "--gpu", "h200", "--load", "0.5")
    assert said == "--load: given with the log of a server; expected a trace, or no such option"
    assert "unknown policy" in refused("validate", log, "--gpu", "h200", "--policy", "fcsf")
    assert "has no measured TTFTs" in refused("calibrate", "server", "example")
    assert "missing.yaml: cannot be read" in refused("validate", log, "--gpu", "h200", "--stack", "missing.yaml")
