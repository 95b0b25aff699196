"""`flowsim.compare`: the same requests under several policies, side by side."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flowsim.core.policy import Policy
from flowsim.core.summary import FullSummary
from flowsim.errors import InputError
from flowsim.io.folders import check_replaceable, check_writable, writing
from flowsim.policies.registry import DEFAULT_POLICIES, PolicySpec, load_policy, spelling
from flowsim.rendering.costs_text import cost_footing, costs_of
from flowsim.rendering.figure_file import draw_into
from flowsim.rendering.result_figures import comparison
from flowsim.results.definitions.comparison_csv import COMPARED, FURTHER
from flowsim.results.differences import ServedTrace, alike, decisions_sha256, difference_rows
from flowsim.results.figure_data import class_attainment, ttft_distributions
from flowsim.results.result import FILES, RunResult
from flowsim.results.summary import as_columns, bound_columns
from flowsim.runs.bound import bound_to_state
from flowsim.runs.keywords import documented, from_keywords, named_policy
from flowsim.runs.pins import pins_of
from flowsim.runs.prepare import prepare, read_input
from flowsim.runs.run import execute
from flowsim.traces.trace import Trace

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several policies on the same requests. Made by `flowsim.compare`.

    Attributes:
        results: the result of each policy, by the name it is shown under.
    """

    results: Mapping[str, RunResult]

    @property
    def table(self) -> pd.DataFrame:
        """One row per policy; the columns are `flowsim.results.definitions.comparison_csv`."""
        import pandas as pd  # slow to import, and only tables need it

        return pd.DataFrame([_row(result.full_summary) for result in self.results.values()], index=list(self.results))

    def differences(self, against: str | None = None) -> pd.DataFrame:
        """Differences of each policy to one of them, paired by request, see `flowsim.results.differences.Difference`.

        Args:
            against: the policy that the others are compared with, in any spelling; default: the first.

        Returns:
            One row per policy and metric: policy, against, metric (attainment, goodput_rps, ttft_p50_s, ...), mean (the
            difference), low, high (its 95 % interval), n (requests that count under both), few (whether it rests on so
            few stretches of requests that the interval is too narrow), unpaired (requests that only one of the two
            counts, which are left out), p (of no difference in attainment) and p_holm (by Holm's method, for all
            policies compared).

        Raises:
            InputError: no such policy.
        """
        import pandas as pd  # slow to import, and only tables need it

        base = spelling(against, self.results, within="comparison") if against else next(iter(self.results))
        served = {name: ServedTrace.of(result) for name, result in self.results.items()}
        return pd.DataFrame(difference_rows(served, base, self.results[base].config["seed"]))

    @property
    def alike(self) -> list[tuple[str, ...]]:
        """The groups of policies that made the same decisions for every request."""
        return alike({name: decisions_sha256(result) for name, result in self.results.items()})

    def plot(self) -> Figure:
        """Attainment by class, and the distribution of TTFT."""
        costs = cost_footing(costs_of(result.inputs) for result in self.results.values())
        return comparison(class_attainment(self.results), ttft_distributions(self.results), costs)

    def save(self, folder: str | Path) -> Path:
        """Write comparison.csv, comparison.png and one folder per policy with the files of its result: all, or none.

        Raises:
            InputError: as `check_folder` raises it.
        """
        check_folder(folder, self.results)
        with writing(folder) as stage:
            self.table.to_csv(stage / "comparison.csv", index_label="policy")
            draw_into(stage / "comparison.png", self.plot(), metadata={"Software": None})
            for name, result in self.results.items():
                place = stage / folder_of(name)
                place.mkdir()
                result.write(place)
        return Path(folder)

    def _repr_html_(self) -> str:
        return str(
            self.table.drop(columns=list(FURTHER)).to_html(na_rep="-", float_format=lambda value: f"{value:.4g}")
        )


@documented
def compare(
    trace: Trace | str | Path,
    policies: Sequence[Policy | PolicySpec | str] = DEFAULT_POLICIES,
    *,
    events: bool = False,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Comparison:
    """Replay the same requests under several policies.

    Args:
        trace: a `Trace`, or the name of one: a file, "example", or "synthetic:PRESET:N".
        policies: policies, or their specifications.
        events: whether to keep what happened on each instance in `outcome.events` of each result.
        progress: called now and then with (requests arrived, requests in all), of each run and of the bound anew.
        {options}

    Raises:
        InputError: as `run` does; also for no policy, and for one that is given twice.
    """
    named = _named(policies)
    wanted, given = from_keywords(trace, next(iter(named.values()))[0], options, "policies")
    given = msgspec.structs.replace(given, trace=read_input(wanted) if given.trace is None else given.trace)
    results: dict[str, RunResult] = {}
    bounding = None
    for name, (spec, policy) in named.items():
        ready = prepare(msgspec.structs.replace(wanted, policy=spec), msgspec.structs.replace(given, policy=policy))
        bounding = bounding or bound_to_state(ready, progress)  # the same for every policy
        results[name] = execute(ready, events=events, progress=progress, pinned=pins_of(ready), bounding=bounding)
    return Comparison(results)


def _named(policies: Sequence[Policy | PolicySpec | str]) -> dict[str, tuple[PolicySpec, Policy]]:
    """The policies, and their specifications, by the name each is shown under. InputError: one cannot be loaded."""
    found: dict[str, tuple[PolicySpec, Policy]] = {}
    if not isinstance(policies, list | tuple):
        raise InputError("policies", found=policies, expected="a list of policies, such as ['fcfs', 'flowprefill']")
    for given in policies:
        spec, policy = named_policy(given)
        name = given if isinstance(given, str) else str(spec)
        if name in found:
            raise InputError(f"policy {name!r}", "is given twice")
        found[name] = spec, load_policy(spec) if policy is None else policy
    if not found:
        raise InputError("policies", found=[], expected="one or more")
    return found


def check_folder(folder: str | Path, policies: Iterable[str]) -> None:
    """Raise `InputError` if a comparison of these policies cannot be saved in a folder, or would replace what is there.

    Results that flowsim wrote may be replaced.
    """
    check_writable(folder)
    check_replaceable(folder, ("comparison.csv", "comparison.png"))
    for name in policies:
        check_replaceable(Path(folder, folder_of(name)), FILES)


def folder_of(name: str) -> str:
    """The folder of the results of a policy of this name."""
    return re.sub(r"[^\w.=,-]+", "-", name)


def _row(summary: FullSummary) -> dict[str, Any]:
    """The columns of `flowsim.results.definitions.comparison_csv`."""
    row = as_columns(summary) | bound_columns(summary)
    by_class = {f"attainment_{name}": metrics["attainment"] for name, metrics in summary["classes"].items()}
    return {name: row[name] for name in COMPARED} | by_class | {name: row[name] for name in FURTHER}
