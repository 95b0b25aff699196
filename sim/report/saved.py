"""A folder of results, open: of a run, a comparison, a study (or a search, or an arena) or a validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from flowsim.archive.manifest import COMPARED, CONFIG, compared_policies
from flowsim.arena.compete import ABOUT as SCORED
from flowsim.arena.compete import Arena
from flowsim.core.summary import FullSummary
from flowsim.errors import InputError
from flowsim.io.counts import number_of
from flowsim.io.folders import exists
from flowsim.report.request_tracks import Stay, stays_on_gpu
from flowsim.results.result import RunResult
from flowsim.results.saved_files import REQUESTS as TABLE
from flowsim.results.saved_files import SUMMARY, stored_requests, stored_summary
from flowsim.runs.compare import folder_of
from flowsim.runs.options import RunOptions
from flowsim.runs.options_file import read_options
from flowsim.runs.run import run
from flowsim.studies.store import JOURNAL, SEALED
from flowsim.studies.sweep import Runs, load_runs
from flowsim.validation.compared import ComparedCase, compared_cases
from flowsim.validation.evidence import ABOUT, Evidence, Recorded

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["run", "comparison", "study", "validation"]
BLOCK_TOKENS = 16
SAME = ("instance", "started_s", "finished_s", "preemptions", "attained")
"""The columns of the table of requests in which a replay must agree with what was saved."""
EXPECTED = "what flowsim run, compare, sweep, capacity, arena or validate wrote with --out"


@dataclass(frozen=True)
class Shown:
    """A run to be shown.

    Attributes:
        name: of its policy, or "simulated" and "real 1".
        result: the run, with its events unless `stays` is given.
        stays: when each request ran and was paused, of a run on a GPU whose events were not kept.
        block_tokens: tokens of a KV block.
    """

    name: str
    result: RunResult
    stays: Mapping[int, Sequence[Stay]] | None = None
    block_tokens: int = BLOCK_TOKENS


def shown_run(name: str, result: RunResult) -> Shown:
    """A simulated run, with the KV blocks that its options say."""
    size = result.config.get("server", {}).get("block_tokens", BLOCK_TOKENS)
    return Shown(name, result, block_tokens=size)


@dataclass(frozen=True)
class Saved:
    """A folder of results.

    Attributes:
        folder: the folder.
        kind: what it holds.
        trust_policies: whether the policies of a validation that flowsim does not ship may be imported, and so run.
    """

    folder: Path
    kind: Kind
    trust_policies: bool = False

    @classmethod
    def read(cls, folder: str | Path, *, trust_policies: bool = False) -> Saved:
        """Open a folder. InputError: it holds no results."""
        path = Path(folder)
        files: dict[str, Kind] = {
            ABOUT: "validation",
            SEALED: "study",
            JOURNAL: "study",
            COMPARED: "comparison",
            SUMMARY: "run",
        }
        for name, kind in files.items():
            if exists(path / name):
                return cls(path, kind, trust_policies)
        runs = path.is_dir() and any(exists(inner / SUMMARY) for inner in path.iterdir())
        problem = f"holds folders of runs, but no {COMPARED}" if runs else "holds no results"
        raise InputError(str(folder), problem, expected=EXPECTED)

    @cached_property
    def runs(self) -> dict[str, Path]:
        """The folder of each run, by the name of its policy, of a run or a comparison."""
        if self.kind == "run":
            return {stored_summary(self.folder)["policy"]: self.folder}
        return {policy: self.folder / folder_of(policy) for policy in compared_policies(self.folder)}

    @cached_property
    def summaries(self) -> dict[str, FullSummary]:
        """The summary of each run, by the name of its policy, of a run or a comparison."""
        return {name: stored_summary(folder) for name, folder in self.runs.items()}

    @cached_property
    def study(self) -> Runs:
        """The runs of a study."""
        return load_runs(self.folder)

    @cached_property
    def arena(self) -> Arena | None:
        """The arena whose runs those of a study are; None if they are of no arena that was saved."""
        return Arena.load(self.folder) if exists(self.folder / SCORED) else None

    @cached_property
    def evidence(self) -> Evidence:
        """The evidence of a validation."""
        return Evidence.load(self.folder, trust_policies=self.trust_policies)

    @cached_property
    def cases(self) -> list[ComparedCase]:
        """The cases of a validation, each with its simulation of now."""
        return compared_cases(self.evidence)

    def options(self, name: str) -> RunOptions:
        """The options of a run."""
        return read_options(self.runs[name] / CONFIG)

    def requests(self, name: str, columns: Sequence[str]) -> pd.DataFrame:
        """These columns of the requests of a run. InputError: there is no such table, or it cannot be read."""
        path = self.runs[name] / TABLE
        table, n = stored_requests(path, columns), self.summaries[name]["requests"]
        if len(table) != n:
            raise InputError(str(path), f"has {number_of(len(table), 'row')}", expected=f"{n}, as in {SUMMARY}")
        return table

    def replayed(self, progress: Callable[[int, int], None] | None = None) -> list[Shown]:
        """Its runs with their events: each is run again, and must come out as it was saved.

        Raises:
            InputError: it is a study, which keeps no events, or a run does not, since something that it was
                made from has changed.
        """
        if self.kind == "study":
            raise InputError(
                str(self.folder), "has the runs of a study", expected="a run, a comparison or a validation"
            )
        if self.kind == "validation":
            return [shown for one in self.evidence.recorded if one.runs for shown in _both(one, self.evidence)]
        return [self._replayed(name, progress) for name in self.runs]

    def _replayed(self, name: str, progress: Callable[[int, int], None] | None) -> Shown:
        options = self.options(name)
        result = run(options, events=True, progress=progress)
        table = self.requests(name, SAME)
        if not all(np.array_equal(result.requests[column], table[column], equal_nan=True) for column in SAME):
            problem = "does not come out as it was saved"
            raise InputError(str(self.runs[name]), problem, expected="the files and the version that it was made with")
        return shown_run(name, result)


def _both(recorded: Recorded, evidence: Evidence) -> Iterator[Shown]:
    """The simulation of a case, and its runs on the GPU."""
    case = recorded.case
    size = case.server.block_tokens
    yield Shown(f"{case.name}, simulated", case.simulate(evidence.cost, events=True), block_tokens=size)
    for number, (gpu_run, real) in enumerate(zip(recorded.runs, evidence.real(recorded), strict=True), 1):
        stays = stays_on_gpu(gpu_run) if real.outcome.events is None else None
        yield Shown(f"{case.name}, real {number}", real, stays, size)
