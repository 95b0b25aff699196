"""`flowsim arena`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.cli import done, invoke, refused


def test_the_command_ranks_shows_and_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"arrival_s": k / 50, "input_length": 300 + 97 * (k % 40)} for k in range(60)]
    Path("t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = ("qwen", "conversation", "code", "mooncake", "bursts")
    line = ["arena", "--only", "--policy", "fcfs", "--policy", "edf:cut=none", "--requests", "30", "--workers", "1"]
    line += [word for name in names for word in ("--trace", f"{name}=t.jsonl")]
    said = invoke(*line, "--set", "seed=1", "--out", "out")
    assert said.exit_code == 0
    assert said.stdout.startswith("arena: 3 policies on 60 cells, 36 runs (36 new, in ")
    assert "edf:cut=none (yours)" in said.stdout and "minus flowprefill" in said.stdout
    assert "saved arena.html, ranking.csv, arena.parquet, arena.csv and arena.png in out" in said.stdout
    table = said.stdout[said.stdout.index("policy") : said.stdout.index("saved arena.html")]
    assert done("show", "out") == f"arena: 3 policies on 60 cells, 36 runs (all done before)\n\n{table}"
    assert done("show", "out", "--html", "again.html") == "saved again.html\n"
    assert Path("again.html").read_bytes() == Path("out", "arena.html").read_bytes()
    assert json.loads(done("show", "out", "--json"))["ranking"][0]["policy"] == "flowprefill"
    shown = {
        "arena.html",
        "arena.json",
        "arena.png",
        "ranking.csv",
        "arena.csv",
        "arena.parquet",
        "runs.parquet",
        "study.yaml",
    }
    assert shown < {path.name for path in Path("out").iterdir()}
    assert done(*line, "--set", "seed=1", "--out", "out", "--quiet") == ""


def test_the_command_refuses_what_it_cannot_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused("arena", "--trace", "t.jsonl") == "--trace must be NAME=PATH, got 't.jsonl'"
    assert refused("arena", "--policy", "fcsf").startswith("policy: unknown policy 'fcsf'; did you mean 'fcfs'")
    assert "slo.scale: is set by the arena" in refused("arena", "--set", "slo.scale=2")
    assert refused("arena", "--requests", "0") == "requests must be >= 1, got 0"
    assert "absent.jsonl" in refused("arena", "--trace", "mine=absent.jsonl")
