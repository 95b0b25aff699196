"""`flowsim run`: the files it leaves, byte for byte the same again, and what it says of a trace."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from flowsim.calibration.costs.table_catalogue import load_table
from support.cli import FILES, ROWS, done, refused, tree, write

pytestmark = pytest.mark.usefixtures("folder")


def test_the_tokens_of_a_block_are_an_option() -> None:
    done("run", "example", "--policy", "fcfs", "--block-tokens", "64", "--out", "results")
    assert yaml.safe_load(Path("results/config.yaml").read_text())["server"]["block_tokens"] == 64
    assert refused("run", "example", "--block-tokens", "0") == "--block-tokens must be >= 1, got 0"


def test_out_leaves_three_files_and_says_so() -> None:
    text = done("run", "t.jsonl", "--out", "results")
    assert {path.name for path in Path("results").iterdir()} == FILES
    assert text.splitlines()[-1] == "saved summary.json, requests.parquet and config.yaml in results"
    assert json.loads(Path("results/summary.json").read_text())["requests"] == 3


def test_quiet_prints_nothing() -> None:
    assert done("run", "t.jsonl", "--quiet", "--out", "results") == ""
    assert {path.name for path in Path("results").iterdir()} == FILES


def test_without_out_nothing_is_written() -> None:
    before = tree()
    done("run", "t.jsonl")
    done("compare", "t.jsonl", "--policy", "fcfs", "--policy", "edf")
    assert tree() == before


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--policy", "own_policies:Fine", "--slo", "0.5", "--instances", "2", "--router", "least-work"),
        ("--rate-scale", "3", "--limit", "2", "--window", "0.5:", "--seed", "4", "--predictor", "noisy:0.2"),
        ("--slo", "mix.yaml", "--slo-scale", "2", "--until", "1.5", "--format", "flowsim", "--kv-tokens", "250"),
        ("--cost", "table", "--slots", "2", "--max-batched-tokens", "128"),
    ],
)
def test_the_config_of_a_run_runs_it_again_to_the_byte(options: tuple[str, ...]) -> None:
    Path("mix.yaml").write_text("ttft_s: {text: 0.2, '*': 1.0}\n")
    load_table("h200", "llama3-8b").save("table")
    done("run", "t.jsonl", *options, "--out", "first")
    done("run", "first/config.yaml", "--out", "second")
    for name in FILES:
        assert Path("first", name).read_bytes() == Path("second", name).read_bytes(), name


def test_a_trace_on_ticks_is_spread_the_same_way_again() -> None:
    rows = [{"timestamp": 3000 * (i // 9), "input_length": 500, "output_length": 1, "hash_ids": [i]} for i in range(45)]
    write("ticks.jsonl", *rows)
    done("run", "ticks.jsonl", "--seed", "5", "--out", "first")
    done("run", "first/config.yaml", "--out", "second")
    done("run", "ticks.jsonl", "--seed", "6", "--out", "third")
    first, second, third = (Path(name, "requests.parquet").read_bytes() for name in ("first", "second", "third"))
    assert first == second != third


def test_a_config_says_all_of_a_run() -> None:
    done("run", "t.jsonl", "--out", "results")
    message = refused("run", "results/config.yaml", "--rate-scale", "2", "--until", "5", "--out", "x")
    assert message == "results/config.yaml: holds every option of the run; leave out --rate-scale, --until"


def test_results_are_replaced_and_other_files_stay() -> None:
    done("run", "t.jsonl", "--out", "results", "--limit", "1")
    Path("results/notes.txt").write_text("mine")
    done("run", "t.jsonl", "--out", "results")
    assert {path.name for path in Path("results").iterdir()} == FILES | {"notes.txt"}
    assert json.loads(Path("results/summary.json").read_text())["requests"] == 3


def test_parents_of_the_output_folder_are_made() -> None:
    done("run", "t.jsonl", "--out", "deep/er/results")
    assert {path.name for path in Path("deep/er/results").iterdir()} == FILES


def test_rows_out_of_order_are_sorted_and_that_is_said() -> None:
    write("t.jsonl", ROWS[2], ROWS[0], ROWS[1])
    text = done("run", "t.jsonl")
    assert "sorted by arrival: 1 request had an earlier time than the one before" in text


def test_requests_larger_than_the_cache_are_counted_as_rejected() -> None:
    text = done("run", "t.jsonl", "--kv-tokens", "256", "--out", "results")
    assert "unfinished 0, rejected 1; longest wait" in text
    summary = json.loads(Path("results/summary.json").read_text())
    assert (summary["rejected"], summary["finished"], summary["classes"]["text"]["attainment"]) == (1, 2, 0.5)


def test_a_run_in_which_all_are_rejected_warns() -> None:
    shown = done("run", "t.jsonl", "--kv-tokens", "1")
    said = [line.rstrip() for line in shown.splitlines() if line.startswith("warning")]
    assert said == [
        "warning  every request was rejected, by the policy or by the limits of the KV cache and the model's context"
    ]


def test_a_trace_without_classes_has_one_row_for_all() -> None:
    write("plain.csv", "arrival_s,input_length\n0,5\n")
    shown = done("run", "plain.csv", "--slo", "0.5")
    assert "plain.csv: 1 request, " in shown
    assert [line.split()[:3] for line in shown.splitlines() if line.startswith("all")] == [["all", "1", "500"]]
