"""The arena end to end, small: what it leaves, on any number of workers, begun again, with a policy of one's own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import flowsim
from flowsim.arena.arena_text import arena_report
from flowsim.arena.compete import Arena, lines_of
from flowsim.arena.grid import Traffic
from flowsim.errors import FailedRuns, InputError
from flowsim.rendering.page import page_html
from flowsim.rendering.screen import show
from support.cli import OWN

SMALL: dict[str, Any] = {
    "only": True,
    "traffic": [Traffic("example", "example", "the example", 50)],
    "loads": (0.9, 1.4),
    "mixes": {"paper": {}, "tight": {"slo.scale": 0.42}},
}
SAME = ("arena.parquet", "arena.csv", "ranking.csv", "arena.png", "runs.parquet", "study.yaml")
MINE = """
from flowsim import Fixed, Pass, Request

LAST = Fixed(key=lambda request: -request.arrival_s)

class Last:
    cut, wake = "none", "events"
    def choose(self, view):
        best = view.first(LAST)
        return Pass.whole(best) if isinstance(best, Request) else best
"""


def held(policies: list[Any], folder: Path, **more: Any) -> Arena:
    arena = flowsim.compete(policies, out=folder, **{**SMALL, "workers": 1, **more})
    arena.save(folder)
    return arena


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("arena")


@pytest.fixture(scope="module")
def arena(folder: Path) -> Arena:
    return held(["fcfs"], folder)


def test_policies_are_ranked_by_their_share_of_the_bound(arena: Arena, folder: Path) -> None:
    assert arena.ranking["policy"].tolist() == ["flowprefill", "fcfs"]
    assert (arena.runs.new, len(arena.table), arena.failed) == (8, 8, {})
    shares = arena.table.groupby("policy")["share_of_bound"].mean()
    assert arena.ranking.set_index("policy")["share_of_bound"].to_dict() == pytest.approx(shares.to_dict())
    assert arena.costs["fcfs"].decisions > 10 and 0 < arena.costs["fcfs"].us_a_request < 10_000
    assert repr(arena) == "Arena(2 policies on 4 cells)"
    assert "<th>flowprefill</th>\n      <td>1</td>" in arena._repr_html_()
    written = pd.read_parquet(folder / "arena.parquet")
    pd.testing.assert_frame_equal(written, arena.table)
    costs = pd.read_csv(folder / "decision_costs.csv")
    assert list(costs) == ["key", "policy", "decisions", "us_a_request"]
    assert dict(zip(costs["policy"], costs["decisions"], strict=True)) == {
        name: cost.decisions for name, cost in arena.costs.items()
    }


def test_a_saved_arena_is_read_back(arena: Arena, folder: Path) -> None:
    loaded = Arena.load(folder)
    pd.testing.assert_frame_equal(loaded.ranking, arena.ranking, check_dtype=False)
    pd.testing.assert_frame_equal(loaded.cells, arena.cells)
    assert (loaded.traffic, loaded.costs, loaded.own, loaded.failed) == (arena.traffic, arena.costs, [], {})
    assert page_html(loaded.page()) == (folder / "arena.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("arena.json", b"", b"", "arena.json: is not JSON"),
        ("arena.json", b'"rank": 1', b'"rank": 2', "arena.json: is damaged, or arena.parquet beside it"),
        ("arena.json", b'"rank": 1', b'"rang": 1', "arena.json: is damaged, or arena.parquet beside it"),
        ("arena.parquet", b"PAR1", b"PAR2", "arena.json: is damaged, or arena.parquet beside it"),
    ],
)
def test_a_damaged_arena_is_refused(
    arena: Arena, folder: Path, tmp_path: Path, name: str, old: bytes, new: bytes, said: str
) -> None:
    damaged = Path(shutil.copytree(folder, tmp_path / "damaged"))
    before = (damaged / name).read_bytes()
    assert old in before
    (damaged / name).write_bytes(before.replace(old, new) if old else b"")
    with pytest.raises(InputError, match=said):
        Arena.load(damaged)


def test_the_bytes_do_not_depend_on_the_workers(arena: Arena, folder: Path, tmp_path: Path) -> None:
    held(["fcfs"], tmp_path, workers=2)
    for name in SAME:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_an_arena_goes_on_where_it_was_interrupted(arena: Arena, folder: Path, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def stop(finished: int, total: int, doing: str) -> None:
        if finished >= 3:
            raise Enough

    with pytest.raises(Enough):
        held(["fcfs"], tmp_path, progress=stop)
    assert 0 < held(["fcfs"], tmp_path).runs.new < 8
    assert all((tmp_path / name).read_bytes() == (folder / name).read_bytes() for name in SAME)
    assert held(["fcfs"], tmp_path).runs.new == 0


def test_a_policy_of_ones_own_is_placed_and_only_its_runs_are_new(
    arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("arena_own.py").write_text(MINE)
    held(["fcfs"], tmp_path / "out")
    grown = held(["fcfs", "arena_own:Last"], tmp_path / "out")
    assert grown.runs.new == 4
    assert grown.own == ["arena_own:Last"]
    places, before = grown.ranking.set_index("policy"), arena.ranking.set_index("policy")
    assert places["rank"]["arena_own:Last"] in (2, 3) and places["rank"]["flowprefill"] == 1
    assert places["share_of_bound_low"]["fcfs"] == before["share_of_bound_low"]["fcfs"]
    assert lines_of(grown).named == grown.ranking["policy"].tolist()
    assert len(grown.plot().axes[0].lines) == 3


def test_decision_costs_are_those_of_the_highest_load_also_where_an_arena_grows(arena: Arena, tmp_path: Path) -> None:
    """Kept ones are read again; those of another cell are measured, and follow."""
    low, again = held(["fcfs"], tmp_path, loads=(0.9,)), held(["fcfs"], tmp_path, loads=(0.9,))
    assert again.costs["fcfs"].us_a_request == pytest.approx(low.costs["fcfs"].us_a_request, abs=1e-3)
    grown = held(["fcfs"], tmp_path)
    assert grown.costs["fcfs"].decisions == arena.costs["fcfs"].decisions != low.costs["fcfs"].decisions
    costs = pd.read_csv(tmp_path / "decision_costs.csv")
    assert list(costs["policy"]) == ["fcfs", "flowprefill"] * 2 and costs["key"].nunique() == 4


def test_a_policy_that_fails_is_named_and_not_ranked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("arena_bad.py").write_text(OWN)
    with pytest.warns(FailedRuns, match="4 of 12 runs failed"):
        found = held(["fcfs", "arena_bad:Raises"], tmp_path / "out")
    assert found.ranking["policy"].tolist() == ["flowprefill", "fcfs"]
    assert "raised KeyError: 'x'" in found.failed["arena_bad:Raises"]
    show(arena_report(found))
    assert capsys.readouterr().out.startswith("arena: 3 policies (1 not ranked) on 4 cells, 12 runs")


def test_an_arena_in_which_every_policy_fails_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flowsim.arena.grid.REFERENCE", "arena_bad2:Raises")
    monkeypatch.syspath_prepend(tmp_path)
    Path("arena_bad2.py").write_text(OWN)
    with pytest.warns(FailedRuns), pytest.raises(InputError, match="arena: runs of every policy failed; the first: "):
        held(["arena_bad2:Text"], tmp_path / "out")


def test_what_the_arena_sets_is_refused_as_an_option() -> None:
    for option, value in (("workload.rate_scale", 2), ("slo", 1), ("trace", "example"), ("until_s", 9)):
        with pytest.raises(InputError, match=f"^{option}.*: is set by the arena; expected another option of a run"):
            flowsim.compete(["fcfs"], **{**SMALL, option: value})
    with pytest.raises(InputError, match="unknown option 'gpus'"):
        flowsim.compete(["fcfs"], **SMALL, gpus="h200")


def test_where_no_request_can_be_in_time_nothing_is_ranked() -> None:
    with pytest.raises(InputError, match="no request can be in time in any cell, whatever the policy"):
        flowsim.compete(["fcfs"], **{**SMALL, "mixes": {"short": {"slo.scale": 1e-6}}}, workers=1)
