"""`flowsim.compete`: every policy in the arena."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace as replaced

from flowsim.arena.decision_costs import DecisionCost, decision_costs
from flowsim.arena.figure import Lines, arena_figure
from flowsim.arena.grid import (
    LOADS,
    MIXES,
    REFERENCE,
    Cell,
    Traffic,
    arguments,
    cells,
    entrants,
    keys_by_cell,
    study_of,
    traffic_of,
)
from flowsim.arena.page import arena_page
from flowsim.arena.scores import Scores
from flowsim.arena.tables import cells_table, ranking_table, shares_by
from flowsim.core.policy import Policy
from flowsim.errors import InputError
from flowsim.io.counts import number_of
from flowsim.io.documents import mapping
from flowsim.io.folders import check_ends, writing
from flowsim.io.schema import PositiveCount, build, fitted
from flowsim.policies.catalogue import TABLE as SHIPPED
from flowsim.policies.registry import PolicySpec
from flowsim.rendering.costs_text import cost_footing
from flowsim.rendering.figure_file import draw_into
from flowsim.rendering.page import Page, write_page
from flowsim.runs.options import flat
from flowsim.studies.study import Study
from flowsim.studies.sweep import Runs, load_runs, sweep

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

REQUESTS, QUICK_REQUESTS = 10_000, 500
"""Requests of each traffic, usually and in a quick arena."""
MOST_NAMED, PLAINEST = 4, "fcfs"
"""How many of the best policies the figure has in colour, and the one that is always there to tell how hard it is."""
SET = ("trace", "policy", "workload", "slo", "bound", "until_s")
"""Options, or sections of them, that the arena sets itself."""
ABOUT, TABLE = "arena.json", "arena.parquet"
SAVED = "what flowsim arena wrote with --out"


class SavedArena(Struct, frozen=True):
    """What arena.json holds: an arena but for its cells and its runs (see `Arena`), and a SHA-256 of all that."""

    ranking: Sequence[Mapping[Any, Any]]
    traffic: Sequence[Traffic]
    own: Sequence[str]
    failed: Mapping[str, str]
    costs: Mapping[str, DecisionCost]
    typed: Sequence[str]
    sha256: str = ""

    def sealed(self, table: Path) -> SavedArena:
        """The same with the SHA-256 of this and of the file of the table."""
        bare = replaced(self, sha256="")
        return replaced(bare, sha256=hashlib.sha256(msgspec.json.encode(bare) + table.read_bytes()).hexdigest())


@dataclass(frozen=True, eq=False)
class Arena:
    """Every policy on every traffic, load and SLO mix. Made by `flowsim.compete`.

    Attributes:
        ranking: one row per ranked policy, see `flowsim.arena.tables.ranking_table`.
        table: one row per cell and policy.
        cells: one row per cell, see `flowsim.arena.tables.cells_table`.
        costs: what deciding costs each policy, by its specification.
        traffic: the traffic.
        own: the specifications of one's own policies.
        failed: the policies that are not ranked, with the first error of each.
        runs: the runs, as a study has them.
    """

    ranking: pd.DataFrame
    table: pd.DataFrame
    cells: pd.DataFrame
    costs: Mapping[str, DecisionCost]
    traffic: Sequence[Traffic]
    own: Sequence[str]
    failed: Mapping[str, str]
    runs: Runs

    def page(self) -> Page:
        """The arena as a page."""
        return arena_page(self, lines_of(self).named)

    def plot(self) -> Figure:
        """The share of the clairvoyant bound against the load."""
        return arena_figure(lines_of(self))

    def __repr__(self) -> str:
        """One line."""
        return f"Arena({number_of(len(self.ranking), 'policy', 'policies')} on {number_of(len(self.cells), 'cell')})"

    def _repr_html_(self) -> str:
        shown = self.ranking.set_index("policy")[["rank", "rank_low", "rank_high", "share_of_bound", "worst_cell"]]
        return str(shown.to_html(float_format="{:.3f}".format))

    def save(self, folder: str | Path) -> Path:
        """Write arena.html, arena.png, ranking.csv, arena.json, and arena.parquet and arena.csv (one row per cell and
        policy): all, or none.

        Raises:
            InputError: the folder cannot be written.
        """
        with writing(folder) as stage:
            ranking, typed = self.ranking.to_dict("records"), self.cells["typed"].tolist()
            self.table.to_parquet(stage / TABLE, index=False, compression="zstd")
            about = SavedArena(ranking, self.traffic, self.own, self.failed, self.costs, typed).sealed(stage / TABLE)
            (stage / ABOUT).write_bytes(msgspec.json.format(msgspec.json.encode(about), indent=1))
            self.table.to_csv(stage / "arena.csv", index=False)
            self.ranking.to_csv(stage / "ranking.csv", index=False)
            draw_into(stage / "arena.png", self.plot(), dpi=150, metadata={"Software": None})
            write_page(self.page(), stage / "arena.html")
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Arena:
        """The arena that `save` wrote. InputError: a file is missing or damaged."""
        import pandas as pd  # slow to import, and only tables need it

        place = Path(folder)
        about = build(SavedArena, mapping(place / ABOUT, SAVED), str(place / ABOUT))
        check_ends(place / TABLE)
        try:
            whole = about.sealed(place / TABLE) == about
        except OSError as error:
            raise InputError(str(place / TABLE), f"cannot be read ({error.strerror})", expected=SAVED) from None
        if not whole:
            raise InputError(str(place / ABOUT), "is damaged, or arena.parquet beside it", expected=SAVED)
        ranking, table = pd.DataFrame(about.ranking), pd.read_parquet((place / TABLE).absolute())
        return cls(
            ranking.where(ranking.notna(), math.nan),
            table,
            cells_table(table, about.typed),
            about.costs,
            about.traffic,
            about.own,
            about.failed,
            load_runs(place),
        )


def compete(
    policies: Sequence[Policy | PolicySpec | str] = (),
    *,
    only: bool = False,
    traces: Mapping[str, str | Path] | None = None,
    requests: int | None = None,
    quick: bool = False,
    loads: Sequence[float] = LOADS,
    mixes: Mapping[str, Mapping[str, Any]] = MIXES,
    traffic: Sequence[Traffic] | None = None,
    out: str | Path | None = None,
    workers: int | None = None,
    dask: str | None = None,
    progress: Callable[..., None] | None = None,
    **options: Any,
) -> Arena:
    """Run every policy on every traffic, at every load, under every SLO mix, and rank them.

    Args:
        policies: your own, or variants of ours, which compete with those of the table.
        only: whether only these compete (and flowprefill, with which all are compared).
        traces: trace files by name, besides the traffic that flowsim draws itself; one of the same name replaces it.
        requests: how many of each traffic are replayed; default: 10,000, or 500 if `quick`.
        quick: whether a rough answer in minutes is enough.
        loads: offered loads: device seconds of the least work that arrive per second.
        mixes: by name, what each SLO mix sets, by path: {"slo.scale": 0.5}.
        traffic: in place of all other traffic.
        out: folder of the runs, in which an arena goes on where it was interrupted, and in which one grows by further
            policies, traffic and loads. Default: nothing is kept on disk.
        workers, dask, progress: as `flowsim.sweep` has them.
        options: options of all runs, by path or in sections: gpu, model, predictor, "server.slots", seed, warmup.

    Raises:
        InputError: something that was given is wrong, `out` holds runs of another study, every policy fails, or no
            request can be in time.

    Warns:
        FailedRuns: runs of some policy failed; `Arena.failed` has it.
    """
    base = _base(options)
    requests = fitted(requests, PositiveCount | None, "requests") or (QUICK_REQUESTS if quick else REQUESTS)
    traffic = traffic_of(traces or {}, requests) if traffic is None else traffic
    named = entrants(policies, only=only)
    grid = cells(traffic, loads, mixes, base)
    study = study_of(grid, named, base)
    run = partial(sweep, study, workers=workers, dask=dask, progress=progress)
    own = [name for name in named if name not in SHIPPED]
    if out is not None:
        return _arena(study, run(out), grid, named, traffic, own)
    with tempfile.TemporaryDirectory(prefix="flowsim-") as folder:
        found = _arena(study, run(folder), grid, named, traffic, own)
    return replace(found, runs=replace(found.runs, folder=None))


def _base(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of all runs by path. InputError: one that the arena sets."""
    base = flat(options)
    for path in base:
        if path.partition(".")[0] in SET:
            raise InputError(path, "is set by the arena", expected="another option of a run")
    return base


def _arena(
    study: Study, runs: Runs, grid: Sequence[Cell], named: Sequence[str], traffic: Sequence[Traffic], own: Sequence[str]
) -> Arena:
    base = {path: value for path, value in study.base.items() if path != "bound"}
    seed = int(base.get("seed", 0))
    scores = Scores.of(runs, grid, named, keys_by_cell(study, grid, named))
    ranked = scores.ranked
    failed = {name: _first_error(scores, name) for name in named if name not in ranked}
    if not ranked:
        raise InputError("arena", f"runs of every policy failed; the first: {failed[named[0]]}")
    if not scores.series(ranked[0]):
        raise InputError("arena", "no request can be in time in any cell, whatever the policy", expected="longer SLOs")
    places = scores.standings(seed)
    table = scores.table(places[0].policy, seed)
    ranking = ranking_table(places, table)
    of_cells = cells_table(table, [arguments(cell, base) for cell in grid])
    return Arena(ranking, table, of_cells, decision_costs(study, grid, ranked, runs.folder), traffic, own, failed, runs)


def _first_error(scores: Scores, policy: str) -> str:
    return next(
        str(scores.rows[place, policy]["error"])
        for place in range(len(scores.cells))
        if scores.served[place, policy] is None
    )


def lines_of(arena: Arena) -> Lines:
    """What the figure of an arena shows: in colour the best few, the reference, the plainest, and one's own."""
    by_load = shares_by(arena.table, "load")
    ranked = arena.ranking["policy"].tolist()
    wanted = {*ranked[:MOST_NAMED], REFERENCE, PLAINEST, *arena.own}
    cells = len(arena.table.groupby(["traffic", "mix"]))
    return Lines(
        list(by_load[ranked[0]]),
        {name: list(by_load[name].values()) for name in ranked},
        [name for name in ranked if name in wanted],
        f"Share of the bound: means over {cells} combinations of traffic and SLO mix",
        f"{', '.join(each.name for each in arena.traffic)}. {cost_footing(arena.runs.costs)}",
    )
