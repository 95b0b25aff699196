"""`flowsim.compare`: the same requests under several policies, side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowsim.core.policy import Policy, check_policy
from flowsim.errors import InputError
from flowsim.io.folders import writing
from flowsim.policies.registry import load_policy, policy_spec
from flowsim.results.figure_data import class_attainment, ttft_distributions
from flowsim.results.result import RunResult
from flowsim.runs.run import run
from flowsim.show.result_figures import comparison
from flowsim.traces.catalogue import load_trace
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
        """One row per policy: attainment (overall, and by class), goodput, TTFT, blocking time, preemptions."""
        import pandas as pd  # slow to import, and only tables need it

        return pd.DataFrame([_row(result.summary) for result in self.results.values()], index=list(self.results))

    def plot(self) -> Figure:
        """Attainment by class, and the distribution of TTFT."""
        return comparison(class_attainment(self.results), ttft_distributions(self.results))

    def save(self, folder: str | Path) -> Path:
        """Write comparison.csv, comparison.png and one folder per policy with the files of its result: all, or none.

        Raises:
            InputError: the folder cannot be written.
        """
        with writing(folder) as stage:
            self.table.to_csv(stage / "comparison.csv", index_label="policy")
            self.plot().savefig(stage / "comparison.png", metadata={"Software": None})
            for name, result in self.results.items():
                place = stage / re.sub(r"[^\w.=,-]+", "-", name)
                place.mkdir()
                result.write(place)
        return Path(folder)

    def _repr_html_(self) -> str:
        return str(self.table.to_html(float_format=lambda value: f"{value:.4g}"))


def compare(trace: Trace | str | Path, policies: Sequence[Policy | str], **options: Any) -> Comparison:
    """Replay the same requests under several policies; `options` are those of `run`.

    Raises:
        InputError: as `run` does; also for no policy, and for one that is given twice.
    """
    names = [policy if isinstance(policy, str) else str(policy_spec(policy)) for policy in policies]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"policy {name!r}", "is given twice")
    if not names:
        raise InputError("policies", found=[], expected="one or more")
    if not isinstance(trace, Trace):
        trace = load_trace(trace, options.get("format"), seed=options.get("seed", 0))
    for policy in policies:  # all of them, before the first run
        _ = load_policy(policy) if isinstance(policy, str) else check_policy(policy)
    return Comparison({name: run(trace, policy, **options) for name, policy in zip(names, policies, strict=True)})


def _row(summary: Mapping[str, Any]) -> dict[str, Any]:
    row = {
        "attainment": summary["attainment"],
        "goodput_rps": summary["goodput_rps"],
        "ttft_p50_s": summary["ttft_s"]["p50"],
        "ttft_p90_s": summary["ttft_s"]["p90"],
        "ttft_p99_s": summary["ttft_s"]["p99"],
        "blocking_mean_s": summary["blocking_s"]["mean"],
        "blocking_p99_s": summary["blocking_s"]["p99"],
        "preemptions": summary["preemptions"],
        "utilization": summary["utilization"],
        "unfinished": summary["unfinished"],
        "rejected": summary["rejected"],
    }
    return row | {f"attainment_{name}": metrics["attainment"] for name, metrics in summary["classes"].items()}
