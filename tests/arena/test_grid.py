"""Cells: the traffic, the loads, and who competes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import flowsim
from flowsim.arena.grid import (
    MIXES,
    Traffic,
    arguments,
    cells,
    entrants,
    keys_by_cell,
    own_traffic,
    study_of,
    traffic_of,
)
from flowsim.errors import InputError, InputWarning
from flowsim.policies.catalogue import TABLE
from flowsim.studies.sweep import keys_of
from support.cli import done

EXAMPLE = Traffic("example", "example", "the example", 50)


def test_the_traffic_of_the_arena_needs_no_file() -> None:
    found = own_traffic(20)
    assert [each.name for each in found] == ["qwen", "conversation", "code", "mooncake", "bursts"]
    assert all(len(flowsim.run(each.trace, "fcfs", bound=False).requests) == 20 for each in found)


def test_a_file_joins_the_traffic_or_takes_the_place_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.jsonl").write_text("".join(json.dumps({"arrival_s": k, "input_length": 100}) + "\n" for k in range(9)))
    found = {each.name: each for each in traffic_of({"qwen": "t.jsonl", "mine": "t.jsonl"}, 7)}
    assert list(found) == ["qwen", "conversation", "code", "mooncake", "bursts", "mine"]
    assert found["qwen"] == Traffic("qwen", str(tmp_path / "t.jsonl"), "t.jsonl", 7)


def test_every_policy_of_the_table_competes_once_and_the_reference_always() -> None:
    assert entrants(()) == list(TABLE)
    with pytest.warns(InputWarning, match=r"^policy edf:cut=operator is edf, which competes once$"):
        assert entrants(["edf:cut=operator", "fcfs"]) == list(TABLE)  # as they are by default
    assert entrants(["edf:cut=none"])[-1] == "edf:cut=none"
    assert entrants(["edf:cut=none"], only=True) == ["edf:cut=none", "flowprefill"]
    with pytest.raises(InputError, match=r"policies must be another one than flowprefill, got \['flowprefill'\]"):
        entrants(["flowprefill"], only=True)
    with pytest.raises(InputError, match=r"^policies: none is given; expected one or more that compete with flowpre"):
        entrants((), only=True)
    with pytest.raises(InputError, match="unknown policy 'fcsf'"):
        entrants(["fcsf"])


def test_loads_are_shares_of_what_the_device_can_do_at_best() -> None:
    found = cells([EXAMPLE], (0.7, 1.4), MIXES, {})
    assert [(cell.load, cell.mix) for cell in found] == [(load, mix) for load in (0.7, 1.4) for mix in MIXES]
    for cell in found:
        rate_scale = cell.options["workload.rate_scale"]
        assert flowsim.offered_load("example", limit=50, rate_scale=rate_scale) == pytest.approx(cell.load, rel=1e-5)
    assert [cell.options.get("slo.scale") for cell in found[:3]] == [None, 0.42, None]


def test_what_to_type_for_the_requests_of_a_cell_gives_them() -> None:
    *_, cell = cells([EXAMPLE], (1.4,), MIXES, {"seed": 3})
    typed = arguments(cell, {"seed": 3, "server.slots": 64, "correct": False})
    scale = cell.options["workload.rate_scale"]
    assert typed == f"example --seed 3 --slots 64 --limit 50 --rate-scale {scale} --slo 1.0"
    assert done("run", *typed.split(), "--quiet") == ""


def test_traffic_that_comes_at_one_instant_has_no_load(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"arrival_s": 0, "input_length": 100}\n' * 3)
    with pytest.raises(InputError, match="traffic mine: has no load: all requests arrive at one instant"):
        cells([Traffic("mine", str(path), "")], (1.0,), MIXES, {})


def test_the_study_has_a_run_for_each_cell_and_policy() -> None:
    grid = cells([EXAMPLE], (0.7, 1.4), MIXES, {"seed": 3})
    study = study_of(grid, ["fcfs", "edf"], {"seed": 3})
    keys = keys_by_cell(study, grid, ["fcfs", "edf"])
    assert [key for of_cell in keys for key in of_cell] == list(keys_of(study))
    assert len(study) == 12 and study.base["seed"] == 3
