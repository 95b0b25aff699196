"""The events of real runs, kept beside their cases: read back as they were, or refused in one line."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowsim.core.events import Thought
from flowsim.errors import InputError
from flowsim.validation.evidence import Evidence
from support.cli import refused
from support.places import DATA
from support.trace_format import TraceEvent, saved_timeline
from support.validation import check_timeline, simulated_as_real

FILE = Path("runs", "edf-90.events-1.jsonl.gz")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated_as_real(tmp_path_factory.mktemp("kept") / "evidence")


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(kept, tmp_path / "kept"))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def rewrite(path: Path, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    lines = lines_of(path)
    change(lines)
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))


def named(lines: list[dict[str, Any]], event: str) -> dict[str, Any]:
    return next(line for line in lines if line["event"] == event)


def said(folder: Path) -> str:
    """What is said of the damaged file, after its name."""
    evidence = Evidence.load(folder)
    with pytest.raises(InputError) as error:
        evidence.real(evidence.recorded[0])
    text = str(error.value)
    assert text.startswith(f"{folder / FILE}: ") and "\n" not in text
    return text.removeprefix(f"{folder / FILE}: ")


def test_the_events_of_a_run_are_read_back_to_the_microsecond(kept: Path) -> None:
    evidence = Evidence.load(kept)
    (of,) = evidence.recorded
    (events,) = evidence.real(of)[0].events
    (simulated,) = of.case.simulate(evidence.cost, events=True).events
    assert [type(event) for event in events] == [type(event) for event in simulated]
    assert [event.time_s for event in events] == pytest.approx([event.time_s for event in simulated], abs=6e-7)
    thoughts = [event for event in events if isinstance(event, Thought)]
    assert all(event.control_s == round(event.control_s, 6) for event in thoughts)


def test_a_run_that_went_as_simulated_has_the_tracks_of_its_simulation(kept: Path, tmp_path: Path) -> None:
    """Its instance, its requests and its arrows, to the microsecond."""
    events = saved_timeline(kept, tmp_path)
    simulated, real = ([e for e in events if e["pid"] // 1000 == lane and e["ph"] != "M"] for lane in (0, 1))
    assert [(e["ph"], e["name"], e["tid"]) for e in simulated] == [(e["ph"], e["name"], e["tid"]) for e in real]
    assert [e["ts"] for e in simulated] == pytest.approx([e["ts"] for e in real], abs=1.01)
    assert {"s", "f", "X", "b", "e", "C", "i"} == {e["ph"] for e in real}
    assert any(e["name"] == "0 paused" for e in real)


@pytest.mark.parametrize("folder", sorted((DATA / "events").glob("*")), ids=lambda path: path.name)
def test_the_passes_of_real_runs_on_a_gpu_lie_under_the_simulated_ones(folder: Path, tmp_path: Path) -> None:
    check_timeline(folder, tmp_path)
    assert any(run.pauses for of in Evidence.load(folder).recorded for run in of.runs)


def test_evidence_without_events_is_read_as_before(folder: Path, tmp_path: Path) -> None:
    (folder / FILE).unlink()
    evidence = Evidence.load(folder)
    assert evidence.real(evidence.recorded[0])[0].outcome.events is None
    real: list[TraceEvent] = [e for e in saved_timeline(folder, tmp_path) if e["pid"] > 1000]
    assert not [e for e in real if e["ph"] in "Xsf"] and any(e["name"] == "0 paused" for e in real)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda of: of.pop(), "finished_s[0] must be "),
        (
            lambda of: of.remove(named(of, "preempted")),
            "preemptions[0] must be 1, as the run in ",
        ),
        (lambda of: of.remove(named(of, "thought")), "decisions[0] must be "),
        (
            lambda of: of.remove(named(of, "arrived")),
            "instance[0] must be 0, as the run in the case",
        ),
        (lambda of: named(of, "launched").update(time_s=0), "started_s[0] must be "),
        (lambda of: named(of, "preempted").update(blocking_s=0.5), "blocking_s[0] must be "),
        (lambda of: named(of, "signalled").update(time_s=0), "pauses[0] must be "),
        (lambda of: named(of, "arrived").update(request=9), "line 1: names request 9; expected 0 to 1"),
        (lambda of: named(of, "launched").update(members=[-1]), "line 4: names request -1; expected 0 to 1"),
        (
            lambda of: named(of, "arrived").update(time_s=-1),
            "line 1: lasts from -1.0 to -1.0 s; expected times from 0",
        ),
        (lambda of: named(of, "thought").update(control_s=1e308), " to 1e+308 s; expected times from 0 to "),
        (lambda of: named(of, "stopped").update(began_s=9), " s, and was heard of at "),
        (lambda of: of[-1].update(began_s=0), "; expected ascending times from "),
        (lambda of: of[0].update(event="flew"), "is damaged: Invalid value 'flew' - at `$[0].event`"),
        (lambda of: of[0].pop("request"), "is damaged: Object missing required field `request` - at `$[0]`"),
        (lambda of: of[0].update(time_s="x"), "is damaged: Expected `float`, got `str` - at `$[0].time_s`"),
    ],
)
def test_events_that_contradict_their_run_are_refused(folder: Path, change: Callable[[Any], Any], what: str) -> None:
    rewrite(folder / FILE, change)
    assert what in said(folder)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda of: of[:-9], "gzip data damaged or cut off after line "),
        (lambda of: of[:40] + bytes([of[40] ^ 1]) + of[41:], "gzip data damaged or cut off after line "),
        (lambda of: b"", "instance[0] must be 0"),
        (
            lambda of: b"5",
            "is damaged: Expected `object`, got `int` - at `$[0]`; expected the events of a run",
        ),
    ],
)
def test_a_damaged_file_of_events_is_refused(
    folder: Path, damage: Callable[[bytes], bytes], what: str, tmp_path: Path
) -> None:
    (folder / FILE).write_bytes(damage((folder / FILE).read_bytes()))
    assert said(folder).startswith(what)
    line = refused("show", str(folder), "--timeline", str(tmp_path / "t.json"))
    assert line.startswith(f"{folder / FILE}: ")
    assert not (tmp_path / "t.json").exists()
