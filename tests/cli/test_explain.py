"""`flowsim explain`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import flowsim
from flowsim.rendering.reasons import REASONS, SERVABLE
from support.cli import done, refused

pytestmark = pytest.mark.usefixtures("folder")
OVERLOADED = ("explain", "example", "--rate-scale", "8", "--policy", "fcfs")


def test_the_reasons_add_up_to_the_misses() -> None:
    lines = done(*OVERLOADED).splitlines()
    missed = int(re.findall(r"missed +(\d+) of 400 requests", "\n".join(lines))[0])
    result = flowsim.run("example", "fcfs", rate_scale=8)
    assert missed == int((result.counted & ~result.attained).sum())
    first = next(
        place for place, line in enumerate(lines) if line.startswith("missed ") and line.rstrip()[-3:] == "all"
    )
    rows = lines[first + 1 : lines.index("", first)]
    assert sum(int(row.split()[-1]) for row in rows) == missed


def test_requests_that_do_not_count_are_told() -> None:
    assert re.search(r"^not counted +40 in the warm-up", done(*OVERLOADED, "--warmup", ".1"), re.MULTILINE)


def test_the_config_of_a_saved_run_tells_the_same() -> None:
    done("run", *OVERLOADED[1:], "--quiet", "--out", "saved")
    assert done("explain", "saved/config.yaml") == done("explain", "saved") == done(*OVERLOADED)
    told = "saved/config.yaml: holds every option of the run; leave out --policy"
    assert refused("explain", "saved/config.yaml", "--policy", "fcfs") == told


@pytest.mark.parametrize("command", ["run", "explain"])
def test_what_is_wrong_with_an_option_of_a_config_names_the_file_and_the_line(command: str) -> None:
    Path("c.yaml").write_text('trace: example\npolicy: "flowsim.policies.edf:os"\n')
    said = "c.yaml: line 2: policy: unknown policy class 'os' in module flowsim.policies.edf (known: EDF)"
    assert refused(command, "c.yaml") == said


def test_a_story_ends_with_the_first_token() -> None:
    lines = done(*OVERLOADED, "--request", "57").splitlines()
    head = lines[: lines.index("")]
    assert [line.split()[0] for line in head if line[0] != " "] == ["trace", "policy", "costs", "SLOs"]
    assert "arrived, text: 90 tokens" in lines[len(head) + 2]
    assert any("first token" in line and "too late" in line for line in lines)


def test_a_request_that_is_not_in_the_trace_is_refused() -> None:
    assert refused(*OVERLOADED, "--request", "400") == "--request must be an id from 0 to 399, got 400"


def test_the_reasons_are_drawn() -> None:
    assert done(*OVERLOADED, "--figure", "why.png").endswith("drew why.png\n")
    assert Path("why.png").stat().st_size > 10_000
    assert refused(*OVERLOADED, "--figure", "why.txt").endswith("expected .png, .pdf or .svg")
    assert (
        refused(*OVERLOADED, "--figure", "why.png", "--request", "3")
        == "--figure: is of all misses; expected no --request"
    )


def test_json_says_what_the_table_says() -> None:
    told = json.loads(done(*OVERLOADED, "--json"))
    lines = [" ".join(line.split()) for line in done(*OVERLOADED).splitlines()]
    for name, text in (REASONS | SERVABLE).items():
        counts = [of.get(name) for of in told["reasons" if name in REASONS else "servable"].values()]
        assert (" ".join(map(str, (text, *counts, sum(counts)))) in lines) == (sum(counts) > 0)
    assert len(told["misses"]) == sum(sum(of.values()) for of in told["servable"].values())
    story = json.loads(done(*OVERLOADED, "--json", "--request", "57"))
    miss = next(miss for miss in told["misses"] if miss["id"] == 57)
    assert {f"{part}_s": lasted_s for part, lasted_s in story["parts_s"].items()}.items() <= miss.items()
    assert (story["reason"], story["servable"]) == (miss["reason"], miss["servable"])
