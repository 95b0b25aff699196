"""`flowsim bound`."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path

import pytest

from support.cli import invoke, refused

pytestmark = pytest.mark.usefixtures("folder")


def test_a_bound_is_three_lines_and_the_load_a_fourth() -> None:
    lines = invoke("bound", "example").stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["upper bound", "lower bound", "hopeless", "offered load"]
    assert "no scheduler attains more than 400 of 400 requests" in lines[0]


def test_the_rate_that_no_scheduler_reaches_is_a_line_more() -> None:
    line = invoke("bound", "example", "--max-goodput", "text=.9").stdout.splitlines()[-1]
    found = re.fullmatch(r"max goodput +< ([\d.]+) req/s: no scheduler meets the target text=0.9 at that rate *", line)
    assert found and 100 < float(found[1]) < 150
    assert "target" in refused("bound", "example", "--max-goodput", "txt=.9")


def test_what_arrives_at_one_instant_has_no_load_and_a_short_file_is_named_whole() -> None:
    Path("one.jsonl").write_text('{"arrival_s": 0, "input_length": 100}\n')
    assert "none: all requests arrive at one instant" in invoke("bound", "one.jsonl").stdout.splitlines()[-1]
    assert refused("bound", "one.jsonl", "--max-goodput", ".9").startswith("one.jsonl: has 1 request; expected >= 30")


def test_progress_is_that_of_all_replays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowsim.engine.simulate.PROGRESS_EVERY", 100)
    told: list[tuple[int, int]] = []
    monkeypatch.setattr("flowsim.cli.bound.replaying", lambda quiet: nullcontext(lambda *given: told.append(given)))
    invoke("bound", "example", "--rate-scale", "8")
    assert told == sorted(told) and {total for _, total in told} == {1200}


def test_a_run_shows_how_far_the_replays_of_its_bound_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowsim.engine.simulate.PROGRESS_EVERY", 100)
    told: list[tuple[int, int]] = []
    monkeypatch.setattr("flowsim.cli.run.replaying", lambda quiet: nullcontext(lambda *given: told.append(given)))
    invoke("run", "example", "--rate-scale", "8")
    assert {total for _, total in told} == {400, 1200}
    told.clear()
    invoke("run", "example", "--rate-scale", "8", "--quiet")
    assert {total for _, total in told} == {400}


def test_a_closed_loop_and_a_stop_are_not_offered() -> None:
    for flag in ("--concurrency", "--until"):
        assert f"No such option '{flag}'" in refused("bound", "example", flag, "4")
