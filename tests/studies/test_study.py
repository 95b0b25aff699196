"""Studies: their points, and what stops one before its first run."""

from __future__ import annotations

from pathlib import Path

import pytest

import flowsim
from flowsim.errors import InputError
from flowsim.studies.point import Point, check
from flowsim.studies.study import Study
from support.places import ROOT

STUDY = """\
title: Rate
run:
  trace: synthetic:qwen:100
axes:
  policy: [fcfs, chunked:2048, flowprefill]
  workload.rate_rps: {from: 8, to: 16, step: 4}
  seed: {from: 0, to: 2}
"""


def study(tmp_path: Path, text: str) -> Study:
    (tmp_path / "study.yaml").write_text(text)
    return Study.read(tmp_path / "study.yaml")


def test_a_grid_goes_through_its_last_axis_first(tmp_path: Path) -> None:
    grid = study(tmp_path, STUDY)
    grid.check()
    assert len(grid) == 27
    assert grid.point(0) == {"trace": "synthetic:qwen:100", "policy": "fcfs", "workload.rate_rps": 8, "seed": 0}
    assert [grid.point(place)["seed"] for place in range(4)] == [0, 1, 2, 0]
    assert [grid.point(place)["workload.rate_rps"] for place in (0, 3, 6, 9)] == [8, 12, 16, 8]
    assert grid.point(26) == {
        "trace": "synthetic:qwen:100",
        "policy": "flowprefill",
        "workload.rate_rps": 16,
        "seed": 2,
    }


def test_listed_points_each_get_the_grid_and_may_be_all_there_is() -> None:
    listed = Study.of({"run": {"trace": "example"}, "points": [{"tp": 1}, {"seed": 3}], "axes": {"policy": ["a", "b"]}})
    assert [listed.point(place) for place in range(len(listed))] == [
        {"trace": "example", "tp": 1, "policy": "a"},
        {"trace": "example", "tp": 1, "policy": "b"},
        {"trace": "example", "seed": 3, "policy": "a"},
        {"trace": "example", "seed": 3, "policy": "b"},
    ]
    assert len(Study.of({"run": {"trace": "example"}})) == 1


def test_a_range_in_a_listed_point_stands_for_all_its_values(tmp_path: Path) -> None:
    text = """
points:
  - {trace: example, workload.window: {from: 0, to: 90, step: 30}}
  - {trace: "synthetic:qwen:50", seed: {from: 1, to: 2}, workload.limit: {from: 40, to: 41}}
  - {trace: example, workload.window: {from: 0, to: 9000, step: 4500}}
"""
    listed = study(tmp_path, text)
    assert [listed.point(place).get("workload.window") for place in range(3)] == [[0, 30], [30, 60], [60, 90]]
    assert [(listed.point(place)["seed"], listed.point(place)["workload.limit"]) for place in range(3, 7)] == [
        (1, 40),
        (1, 41),
        (2, 40),
        (2, 41),
    ]
    with pytest.raises(InputError, match=r"line 5: points #3: example: no request arrives from 4500 s to 9000 s"):
        listed.check()


def test_listed_points_are_checked_without_the_options_of_the_first() -> None:
    """Those of Azure's requests have no classes, so a mix of theirs would be refused."""
    points = [
        {"trace": "synthetic:qwen:50", "workload.mix": {"text": 1}},
        {"trace": "synthetic:azure-conversation:50"},
    ]
    listed = Study.of(
        {"points": points, "axes": {"seed": [0, 1], "policy": ["fcfs", "edf"], "server.slots": [64, 128]}}
    )
    listed.check()
    points[1]["workload.mix"] = {"text": 1}
    with pytest.raises(InputError, match=r"points #2: .*has no classes, so their mix cannot be changed"):
        Study.of({"points": points}).check()


def test_a_search_on_too_few_requests_stops_it(tmp_path: Path) -> None:
    text = "run: {trace: example}\naxes: {policy: [fcfs], workload.limit: [90, 20]}\ncapacity: {target: 0.9}"
    with pytest.raises(
        InputError,
        match=r"line 2: axes workload.limit #2: example: has 20 requests; expected >= 30 requests for a search",
    ):
        study(tmp_path, text).check()


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ("policy: [chunked:512, edf]\n  policy.budget: [64, 128]", "line 3: axes policy #2: policy 'edf:budget=64'"),
        (
            "workload.mix.text: [0.1, 0.7]\n  workload.mix.search: [0.2, 0.5]",
            "line 4: axes workload.mix.search: sum of the shares of the mix must be",
        ),
        ("model: [llama3-8b, qwen3-8b]\n  slo: [0.5, null]", "line 4: axes slo: no TTFT SLOs are known"),
        (
            "workload.prefix_cache: [none, ideal]\n  trace: [blocks.jsonl, example]",
            "line 4: axes trace: example: has no prefix blocks",
        ),
        (
            "workload.limit: [5, 80]\n  workload.window: ['0:90', '90:120']\n  trace: [example, 'synthetic:qwen:50']",
            "line 5: axes trace: ",
        ),
    ],
)
def test_values_that_are_wrong_only_together_stop_it_too(tmp_path: Path, axes: str, message: str) -> None:
    row = '{"arrival_s": %d, "input_length": 900, "hash_ids": [1, 2], "block_tokens": 512}\n'
    (tmp_path / "blocks.jsonl").write_text("".join(row % second for second in range(9)))
    with pytest.raises(InputError) as error:
        study(tmp_path, f"run: {{{'seed: 0' if 'trace:' in axes else 'trace: example'}}}\naxes:\n  {axes}").check()
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("axis", "given", "values"),
    [
        ("seed", {"from": 0, "to": 3}, (0, 1, 2, 3)),
        ("slo.scale", {"from": 0.4, "to": 1.0, "step": 0.2}, (0.4, 0.6, 0.8, 1.0)),
        ("workload.rate_rps", {"from": 1, "to": 2, "step": 0.4}, (1.0, 1.4, 1.8)),
        ("workload.window", {"from": 0, "to": 900, "step": 300}, ([0, 300], [300, 600], [600, 900])),
    ],
)
def test_a_range_includes_its_end(axis: str, given: object, values: tuple[object, ...]) -> None:
    assert Study.of({"axes": {axis: given}}).axes[axis] == values


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("chunked:2048", "chunkd", "line 5: axes policy #2: unknown policy 'chunkd'; did you mean 'chunked'?"),
        ("synthetic:qwen:100", "no.jsonl", "line 3: run trace: no.jsonl: no such file"),
        (
            "synthetic:qwen:100",
            "synthetic:qwen",
            "line 3: run trace: synthetic:qwen: lacks its number of requests; expected synthetic:PRESET:N",
        ),
        ("policy:", "polcy:", "line 5: axes polcy: unknown option 'polcy'; did you mean 'policy'?"),
        (
            "step: 4",
            "step: -1",
            "line 6: axes workload.rate_rps must be {from: FIRST, to: LAST, step: STEP} with rising numbers",
        ),
        ("step: 4", "stp: 4", "line 6: axes workload.rate_rps: unknown key of a range 'stp'"),
        ("from: 8", "from: 0", "line 6: axes workload.rate_rps #1 must be > 0, got 0"),
        ("axes:", "axs:", "line 4: axs: unknown section 'axs'; did you mean 'axes'?"),
        (
            "[fcfs",
            "[3",
            "line 5: axes policy #1 must be text such as 'edf', or a mapping of name and options, got 3",
        ),
        ("title: Rate", "capacity: {target: 2}", "line 1: capacity: target must be <= 1, got 2"),
        ("title: Rate", "capacity: {tolerance: 1.0e-17}", "line 1: capacity: tolerance must be >= 1e-06, got 1e-17"),
        ("title: Rate", "capacity:", "line 1: capacity must be a mapping such as {target: 0.9}, got nothing"),
        ("title: Rate", "title: [1]", "line 1: title must be text, got [1]"),
        (
            "title: Rate",
            "points: &all [{tp: 1}, *all]",
            "study.yaml: contains itself (a YAML anchor that refers to itself)",
        ),
        (
            "title: Rate",
            "capacity: {by: class}",
            "line 1: capacity: unknown field 'by' (known: target, tolerance, weights)",
        ),
        ("title: Rate", "capacity: {target: {text: 2}}", "line 1: capacity: target.text must be <= 1, got 2"),
        ("title: Rate", "capacity: {target: {}}", "line 1: capacity: target must be a share, or one for at least one"),
        (
            "title: Rate",
            "capacity: {target: text}",
            "line 1: capacity: target must be a share, or CLASS=SHARE pairs, got",
        ),
        (
            "title: Rate",
            "capacity: {target: {text: 0.9}, weights: {text: 2}}",
            "line 1: capacity: weights: cannot be combined with targets by class; expected one of them",
        ),
        ("title: Rate", "capacity: {target: 0.9}", "line 6: axes workload.rate_rps #1: is given, but a study with"),
        ("title: Rate", "requests: maybe", "line 1: requests must be true or false or a list (each item text), got"),
        ("title: Rate", "requests: [atained]", "line 1: requests: unknown column of requests.parquet 'atained'; did"),
        ("title: Rate", "points: [{policy: edf}, 7]", "line 1: points #2 must be a mapping of options, got 7"),
        ("title: Rate", "points: [{tp: 1}, {slo: 0.x}]", "line 1: points #2: slo: unknown SLO mix '0.x'"),
        ("  seed", "  gpu: [h200,\n   a1000]\n  seed", "line 8: axes gpu #2: unknown gpu 'a1000'"),
        (
            "  seed",
            "  workload.window: ['5']\n  seed",
            "line 7: axes workload.window #1 must be FROM:TO in seconds, with 0 <= FROM < TO, got '5'",
        ),
        ("  seed", "  warmup: [1.5]\n  seed", "line 7: axes warmup #1 must be < 1, got 1.5"),
        ("  seed", "  workload.mix.txt: [0.5]\n  seed", "line 7: axes workload.mix.txt #1: mix: unknown class 'txt'"),
        (
            "  seed",
            "  policy.budget: [64]\n  seed",
            "line 7: axes policy.budget #1: policy 'fcfs:budget=64': unknown option",
        ),
        ("  seed: {from: 0, to: 2}", "  seed: 7", "line 7: axes seed must be a list of values, or {from"),
        ("Rate", "[", "study.yaml: line 3: is not YAML"),
        ("axes:", "run: {}\naxes:", "study.yaml: line 4: the key 'run' is repeated"),
        ("to: 2}", "to: 1.0e+8}", "line 7: axes seed: has 100,000,000 values; expected <= 1,000,000"),
        ("to: 2}", "to: 999999}", "line 4: axes: has 9,000,000 points; expected <= 1,000,000"),
        (
            "axes:",
            "points:\n- {seed: {from: 0, to: 9999}, until_s: {from: 1, to: 10000}}\naxes:",
            "line 5: points #1: has 100,000,000 points; expected <= 1,000,000",
        ),
        ("  trace", "  cost: nowhere\n  trace", "line 3: run cost: nowhere: is not a folder; expected an"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in STUDY
    with pytest.raises(InputError) as error:
        study(tmp_path, STUDY.replace(old, new)).check()
    said = str(error.value)
    assert said.startswith(f"{tmp_path}/study.yaml")
    assert message in said
    assert "\n" not in said


def test_files_are_looked_up_beside_the_study(tmp_path: Path) -> None:
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / "mine.jsonl").write_text('{"arrival_s": 0, "input_length": 5}\n' * 2)
    (tmp_path / "slo.yaml").write_text("ttft_s: {'*': 1.0}\n")
    study(tmp_path, "run: {trace: traces/mine.jsonl, slo: slo.yaml}").check()


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_ready_study_is_sound(path: Path) -> None:
    ready = Study.read(path)
    if "../../shared/traces" in path.read_text() and not (ROOT.parent / "shared" / "traces").is_dir():
        pytest.skip("the production traces are not here")
    ready.check()
    assert ready.title and len(ready) >= 20


def test_values_take_the_kind_of_their_option() -> None:
    point = Point.of(
        {
            "trace": "example",
            "slo": 2,
            "slo.scale": 1,
            "workload.window": [0, 30],
            "workload.mix.text": 1,
            "policy.cut": "layer",
        }
    )
    columns = point.columns
    assert (columns["slo.mix"], columns["slo.scale"], columns["workload.window"]) == ("2", 1.0, "0:30")
    assert point.policy == "flowprefill:cut=layer"
    assert columns["policy.cut"] == "layer"
    assert point.columns["policy"] == "flowprefill:cut=layer" and point.columns["workload.mix.text"] == 1.0
    check(point, ".")
    more = Point.of({"trace": "example", "workload.window": [1234567, 1239999.25], "slo": 0.12345678}).columns
    assert (more["workload.window"], more["slo.mix"]) == ("1234567:1239999.25", "0.12345678")
    assert Point.of({"trace": "example", "policy": "sjf:4096", "policy.cut": "block"}).policy == "sjf:4096,cut=block"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "lacks trace"),
        ({"trace": "example", "seed": 1.5}, "seed must be a whole number >= 0, got 1.5"),
        ({"trace": "example", "seed": -1}, "seed must be >= 0, got -1"),
        ({"trace": "example", "seed": True}, "seed must be a whole number >= 0, got True"),
        ({"trace": "example", "slo.scale": "x"}, "slo.scale must be a number > 0, got 'x'"),
        ({"trace": "example", "slo.scale": float("nan")}, "slo.scale must be a number > 0, got nan"),
        (
            {"trace": "example", "workload.rate_rps": 2, "workload.rate_scale": 2},
            "workload.rate_rps: is given together with rate_scale",
        ),
        ({"trace": "example", "server.instances": 0}, "instances must be >= 1, got 0"),
        ({"trace": "example", "workload.window": ["a", "b"]}, r"workload.window\[0\] must be a number, got 'a'"),
        ({"trace": "example", "workload.new_tokens": 1}, "workload.new_tokens must be true or false, got 1"),
        (
            {"trace": "example", "workload.prefix_cache": "big"},
            "prefix_cache must be none, ideal or lru:BLOCKS with",
        ),
        ({"trace": "example", "workload.prefix_cache": "ideal"}, "no prefix blocks"),
        ({"trace": "example", "until_s": 0}, "until_s must be > 0, got 0"),
    ],
)
def test_wrong_values_of_a_point(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(Point.of(values), ".")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run: {policy: fcfs}\naxes: {policy: [fcfs, edf]}", "line 1: run policy: is an axis too; expected it once"),
        ("run:\n  slo: 0.5\naxes: {slo: [0.5, 1]}", "line 2: run slo: is an axis too"),
        ("run:\n  slo: {scale: 2}\naxes: {slo.scale: [1, 2]}", "line 2: run slo scale: slo.scale: is an axis too"),
        ("points: [{seed: 1}]\naxes: {seed: [1, 2]}", "line 1: points #1: seed: is an axis too"),
    ],
)
def test_what_is_an_axis_is_given_nowhere_else(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        study(tmp_path, text)
    assert message in str(error.value)


def test_axes_vary_the_config_of_a_run(tmp_path: Path) -> None:
    """It holds every option that was given, and what it pins is not a default that a study wrote down."""
    config = flowsim.run("example", "fcfs", limit=5, slo=0.5).config
    varied = Study.of({"run": config, "axes": {"policy": ["fcfs", "edf"], "slo": [0.5, 1]}})
    assert [varied.point(place)["policy"] for place in range(4)] == ["fcfs", "fcfs", "edf", "edf"]
