"""Small inputs on which a plausible definition misleads: each metric has its right value, wherever it is shown."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import flowsim
from flowsim.cli.main import main
from flowsim.core.passes import Decision, Pass
from flowsim.core.policy import View
from flowsim.core.request import Request
from flowsim.policies.flowprefill import FlowPrefill
from flowsim.policies.parts.orders import S_EDF
from flowsim.rendering.summary_text import ttft
from flowsim.results.figure_data import ttft_distributions
from flowsim.studies import figure_data
from flowsim.studies.study_text import study_report


def written(path: Path, rows: Iterable[tuple[float, int]]) -> Path:
    path.write_text("arrival_s,input_length\n" + "".join(f"{at},{tokens}\n" for at, tokens in rows))
    return path


def screen(*words: str) -> str:
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code == 0, done.output
    return done.output


# A run that is stopped while one long prompt blocks 40 short ones.

LONG_FIRST = [
    *((place / 10, 500) for place in range(10)),
    (1.0, 125_000),
    (1.1, 500),
    *((1.3 + place / 5, 500) for place in range(39)),
]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = written(tmp_path_factory.mktemp("stopped") / "trace.csv", LONG_FIRST)
    return path, flowsim.compare(path, ["fcfs", "flowprefill"], until_s=9.0, slo=0.5)


def test_a_stop_flatters_nobody(stopped: Any) -> None:
    """fcfs answered 10 requests in the first second and none since: it is behind by every count."""
    fcfs, flowprefill = (result.summary for result in stopped[1].results.values())
    assert [round(of["attained_observed_rps"], 2) for of in (fcfs, flowprefill)] == [1.11, 5.56]
    assert fcfs["attained_with_drain_rps"] > 2 * fcfs["goodput_rps"]  # what was once called goodput
    assert (fcfs["attainment"], fcfs["undecided"]) == (10 / 48, 3)
    assert (flowprefill["attainment"], flowprefill["undecided"]) == (50 / 51, 0)
    offered_rps = 50 / 8.9
    assert fcfs["goodput_rps"] == pytest.approx(10 / 48 * offered_rps)
    assert flowprefill["goodput_rps"] == pytest.approx(50 / 51 * offered_rps)


def test_a_quantile_of_a_stopped_run_is_beyond_every_first_token(stopped: Any) -> None:
    result = stopped[1].results["fcfs"]
    finished_s = np.nanmax(result.ttft_s)
    assert result.ttft(0.99) == np.inf
    assert result.summary["ttft_s"]["p99"] is None
    assert result.summary["ttft_exceeds_s"]["p99"] > finished_s
    assert ttft(result.summary, "p99") == "> 7.953 s"
    assert stopped[1].table.loc["fcfs", "ttft_p99_s"] == np.inf


def test_the_screen_and_the_tables_of_a_stopped_run_agree(stopped: Any, tmp_path: Path) -> None:
    path, comparison = stopped
    words = ["--until", "9", "--slo", "0.5", "--policy", "fcfs", "--policy", "flowprefill", "--all-metrics"]
    shown = screen("compare", str(path), *words)
    assert "20.8 %  1.17 req/s" in shown
    assert "98.0 %  5.51 req/s" in shown
    assert "> 7.953 s" in shown
    assert all(f"{rate} req/s" in shown for rate in ("1.11", "5.56", "10.95"))
    study = {"run": {"trace": str(path), "slo": 0.5, "until_s": 9}, "axes": {"policy": ["fcfs", "flowprefill"]}}
    table = flowsim.sweep(study, tmp_path / "study").table.set_index("policy")
    again = flowsim.load_runs(tmp_path / "study").table.set_index("policy")
    for name in ("attainment", "goodput_rps", "ttft_p50_s", "ttft_p99_s", "ttft_exceeds_p99_s", "undecided"):
        for found in (table, again):
            np.testing.assert_array_equal(found[name].astype(float), comparison.table[name].astype(float))


def test_the_report_of_a_study_does_not_show_the_quantile_of_the_survivors(stopped: Any) -> None:
    study = {"run": {"trace": str(stopped[0]), "slo": 0.5, "until_s": 9}, "axes": {"policy": ["fcfs"]}}
    lines = [str(part) for part in cells(study_report(flowsim.sweep(study)))]
    assert "> 3.4" in lines
    assert "> 7.95" in lines


def cells(report: Any) -> list[Any]:
    tables = [part for part in report.renderables if hasattr(part, "columns")]
    return [cell for table in tables for column in table.columns for cell in column.cells]


# Requests whose deadline a stop came before.


def test_what_is_not_yet_late_is_undecided(tmp_path: Path) -> None:
    """A long prompt (SLO 6 s) keeps a short one (SLO 0.25 s) waiting; the run stops before or after its deadline."""
    path = written(tmp_path / "trace.csv", [(0, 500), (0.5, 500), (0.99, 30_000), (0.995, 500)])
    before, after = (flowsim.run(path, "fcfs", until_s=until_s).summary for until_s in (1.0, 1.25))
    assert (before["attainment"], before["counted"], before["undecided"]) == (1.0, 2, 2)
    assert (after["attainment"], after["counted"], after["undecided"]) == (2 / 3, 3, 1)
    assert "not counted  1 undecided when stopped" in screen("run", str(path), "--policy", "fcfs", "--until", "1.25")


def test_no_share_of_time_is_above_the_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "trace.csv", [(0, 500), (1, 500)])
    summary = flowsim.run(path, "fcfs", until_s=1e-9).summary
    shares = [value for name, value in summary.items() if name.endswith("share") or name == "utilization"]
    assert all(share is None or 0 <= share <= 1 + 1e-9 for share in shares)  # sums round
    assert summary["span_s"] == 1e-9


# A warm-up with a queue that nobody sees later.


@pytest.fixture
def warmed(tmp_path: Path) -> Path:
    return written(tmp_path / "trace.csv", [*((0, 2000) for _ in range(50)), *((10 + s, 500) for s in range(50))])


def test_the_warm_up_is_left_out_everywhere(warmed: Path, tmp_path: Path) -> None:
    result = flowsim.run(warmed, "fcfs", slo=0.5, warmup=0.5)
    summary, most_s = result.summary, 0.0134
    rows = result.requests[result.requests["counted"]]
    distribution = ttft_distributions({"fcfs": result})["fcfs"]
    for ttft_s in (
        summary["ttft_s"]["p99"], summary["ttft_s"]["max"], result.ttft(0.99), rows["ttft_s"].max(),
        summary["classes"]["all"]["ttft_s"]["p99"], distribution.values[-1],
    ):  # fmt: skip
        assert ttft_s == pytest.approx(most_s, abs=5e-5)
    assert summary["longest_wait_s"] == summary["queueing_s"]["max"] == rows["queueing_s"].max() < 1e-3
    assert summary["counted"] == summary["in_warmup"] == summary["classes"]["all"]["counted"] == len(rows) == 50
    assert distribution.percent[-1] == 100
    study = {"run": {"trace": str(warmed), "slo": 0.5, "warmup": 0.5}, "axes": {"policy": ["fcfs", "flowprefill"]}}
    runs = flowsim.sweep(study | {"requests": True}, tmp_path / "study")
    assert runs.table["ttft_p99_s"].iloc[0] == summary["ttft_s"]["p99"]
    assert figure_data.ttft_distributions(runs)["fcfs"].values[-1] == distribution.values[-1]


def test_the_column_counted_is_in_the_file(warmed: Path, tmp_path: Path) -> None:
    screen("run", str(warmed), "--policy", "fcfs", "--slo", "0.5", "--warmup", "0.5", "--out", str(tmp_path / "out"))
    rows = pd.read_parquet(tmp_path / "out" / "requests.parquet")
    assert rows["counted"].tolist() == [False] * 50 + [True] * 50
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["counted"] == 50


# Rates.


@pytest.mark.parametrize("n", [5, 101])
def test_one_request_a_second_is_one_rate_everywhere(tmp_path: Path, n: int) -> None:
    path = written(tmp_path / "trace.csv", [(place, 500) for place in range(n)])
    summary = flowsim.run(path).summary
    assert summary["goodput_rps"] == summary["offered_rps"] == flowsim.traces.read_trace(path).rate_rps == 1.0
    assert "1.00 req/s offered" in screen("run", str(path))


def test_one_long_prompt_at_the_end_does_not_lower_goodput(tmp_path: Path) -> None:
    rows = [(place / 10, 500) for place in range(600)]
    served = flowsim.run(written(tmp_path / "short.csv", rows), "fcfs").summary
    longer = flowsim.run(written(tmp_path / "long.csv", [*rows, (60, 120_000)]), "fcfs", slo=20).summary
    assert served["goodput_rps"] == pytest.approx(10.0)
    assert longer["goodput_rps"] == pytest.approx(10.0)
    assert longer["attained_with_drain_rps"] < 9.5


@dataclass(frozen=True)
class DropsHopeless(FlowPrefill):
    """Rejects what will hardly meet its deadline, so its queue drains at once and some are never served."""

    margin: float = 4.0

    def choose(self, view: View) -> Decision:
        hopeless = [r for r in view.waiting if r.deadline_s - view.now < self.margin * r.predicted_s]
        head = view.first(S_EDF, besides=hopeless)
        return Decision(Pass.whole(head) if isinstance(head, Request) else head, reject=hopeless)


def test_the_policy_that_serves_fewer_in_time_does_not_rank_first() -> None:
    """At 8 times the rate: one serves everything to the end; the other drops, so it is through far sooner."""
    served = flowsim.run("example", "flowprefill", rate_scale=8).summary
    dropped = flowsim.run("example", DropsHopeless(), rate_scale=8).summary
    assert dropped["rejected"] > 0 == dropped["unfinished"] == dropped["undecided"]
    assert served["attainment"] > dropped["attainment"]
    assert served["attained_with_drain_rps"] < dropped["attained_with_drain_rps"]
    assert served["goodput_rps"] > dropped["goodput_rps"]
    assert dropped["ttft_s"]["max"] is None
