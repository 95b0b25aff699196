"""Comparisons: the runs of several policies on the same requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flowsim.core.slo_mix import SLOMix
from flowsim.errors import InputError
from flowsim.policies.flowprefill import FlowPrefill
from flowsim.policies.registry import PolicySpec
from flowsim.results.definitions.comparison_csv import COMPARED, FURTHER
from flowsim.runs.compare import Comparison, compare
from flowsim.runs.run import run
from flowsim.traces import Trace
from support.costs import pencil
from support.runs import FILES, same_files, three


def three_policies(**options: Any) -> Comparison:
    chosen = ["fcfs", "chunked:1", FlowPrefill(cut="layer")]
    return compare(three(), chosen, cost=pencil(), slo=SLOMix("mix", {"long": 4.0, "short": 2.0}), **options)


def test_a_comparison_has_a_row_a_policy() -> None:
    table = three_policies().table
    assert list(table.index) == ["fcfs", "chunked:1", "flowprefill:cut=layer"]
    assert list(table.columns) == [*COMPARED, "attainment_long", "attainment_short", *FURTHER]
    assert table.loc["fcfs", "attainment_long"] == 1.0
    assert table.loc["fcfs", "attainment_short"] == 0.0
    assert table.loc["fcfs", "attained_with_drain_rps"] == 1 / 6


def test_a_comparison_gives_differences_paired_by_request() -> None:
    comparison = compare("example", ["fcfs", "flowprefill", "chunked:2048"], rate_scale=5)
    table = comparison.differences()
    assert table.equals(comparison.differences("fcfs"))
    assert table.columns.tolist() == [
        *("policy", "against", "metric", "mean", "low", "high", "n", "few", "unpaired", "p", "p_holm"),
    ]
    of = table[table["metric"] == "attainment"].set_index("policy")
    attainment = comparison.table["attainment"]
    assert of["mean"].to_dict() == pytest.approx((attainment - attainment["fcfs"]).drop("fcfs").to_dict())
    assert (of["n"] == 400).all() and of["few"].all()
    against = comparison.differences("flowprefill:cut=operator")
    assert set(against["against"]) == {"flowprefill"}
    with pytest.raises(InputError, match="unknown policy 'edf' of the comparison"):
        comparison.differences("edf")
    assert comparison.alike == [] and not table["unpaired"].any()
    assert compare("example", ["fcfs", "chunked:100000"], limit=20).alike == [("fcfs", "chunked:100000")]


def test_every_policy_gets_the_same_requests() -> None:
    results = three_policies(rate_scale=2.0, limit=2).results.values()
    assert {result.trace.sha256 for result in results} == {next(iter(results)).trace.sha256}
    assert {len(result.trace) for result in results} == {2}


def test_a_comparison_of_policies_is_their_runs(folder: Path) -> None:
    compare("trace.jsonl", ["fcfs", "chunked:512"], rate_scale=2, format="flowsim").save("out")
    for policy, name in (("fcfs", "fcfs"), ("chunked:512", "chunked-512")):
        run("trace.jsonl", policy, rate_scale=2, format="flowsim").save("alone")
        same_files(folder / "out" / name, folder / "alone")


def test_a_comparison_takes_what_a_run_takes(folder: Path) -> None:
    given: dict[str, Any] = {"workload": {"limit": 30}, "server": {"slots": 2}, "seed": 4}
    policies = ["fcfs", PolicySpec("chunked", {"budget": 512}), FlowPrefill(cut="block")]
    results = compare("synthetic:qwen:40", policies, **given).results
    assert list(results) == ["fcfs", "chunked:budget=512", "flowprefill:cut=block"]
    for policy, result in zip(policies, results.values(), strict=True):
        alone = run("synthetic:qwen:40", policy, **given)
        assert result.summary == alone.summary
        assert result.config == alone.config


def test_the_files_of_a_comparison(folder: Path) -> None:
    three_policies().save("out")
    found = {str(path.relative_to("out")) for path in Path("out").rglob("*") if path.is_file()}
    policies = ("fcfs", "chunked-1", "flowprefill-cut=layer")
    assert found == {"comparison.csv", "comparison.png"} | {f"{policy}/{name}" for policy in policies for name in FILES}
    lines = Path("out/comparison.csv").read_text().splitlines()
    assert lines[0].startswith("policy,attainment,goodput_rps,ttft_p50_s,")
    assert [line.split(",")[0] for line in lines[1:]] == ["fcfs", "chunked:1", "flowprefill:cut=layer"]
    assert Path("out/comparison.png").read_bytes().startswith(b"\x89PNG")


def test_a_comparison_in_a_notebook_escapes_names() -> None:
    comparison = three_policies()
    shown = Comparison({"<b>mine</b>": comparison.results["fcfs"]})._repr_html_()
    assert "<b>mine" not in shown
    assert "&lt;b&gt;mine" in shown


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        ([], "policies must be one or more, got []"),
        (["fcfs", "fcfs"], "policy 'fcfs': is given twice"),
        (["fcfs", "fcfz"], "unknown policy 'fcfz'; did you mean 'fcfs'?"),
        (["fcfs", object()], "policy object: has no method choose"),
    ],
)
def test_policies_that_cannot_be_compared_are_refused_before_the_first_run(policies: list[Any], message: str) -> None:
    def told(done: int, total: int) -> None:
        pytest.fail("a run has begun")

    trace = Trace.of(range(2000), [1] * 2000)
    with pytest.raises(InputError) as refused:
        compare(trace, policies, cost=pencil(), slo=1.0, progress=told)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("trace", "policies", "message"),
    [
        (None, ["fcfs"], "trace must be a Trace, or the name of one, got nothing"),
        ("example", None, "policies must be a list of policies, .* got nothing"),
        ("example", "fcfs", "policies must be a list of policies, .* got 'fcfs'"),
        ("example", [], r"policies must be one or more, got \[\]"),
    ],
)
def test_arguments_of_another_type_are_refused(trace: Any, policies: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        compare(trace, policies)
