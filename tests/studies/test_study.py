"""Studies: their points, and what stops one before its first run."""

from __future__ import annotations

from pathlib import Path

import pytest

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
  rate_rps: {from: 8, to: 16, step: 4}
  seed: {from: 0, to: 2}
"""


def study(tmp_path: Path, text: str) -> Study:
    (tmp_path / "study.yaml").write_text(text)
    return Study.read(tmp_path / "study.yaml")


def test_a_grid_goes_through_its_last_axis_first(tmp_path: Path) -> None:
    grid = study(tmp_path, STUDY)
    grid.check()
    assert len(grid) == 27
    assert grid.point(0) == {"trace": "synthetic:qwen:100", "policy": "fcfs", "rate_rps": 8, "seed": 0}
    assert [grid.point(place)["seed"] for place in range(4)] == [0, 1, 2, 0]
    assert [grid.point(place)["rate_rps"] for place in (0, 3, 6, 9)] == [8, 12, 16, 8]
    assert grid.point(26) == {"trace": "synthetic:qwen:100", "policy": "flowprefill", "rate_rps": 16, "seed": 2}


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
  - {trace: example, window: {from: 0, to: 90, step: 30}}
  - {trace: "synthetic:qwen:50", seed: {from: 1, to: 2}, limit: {from: 40, to: 41}}
  - {trace: example, window: {from: 0, to: 9000, step: 4500}}
"""
    listed = study(tmp_path, text)
    assert [listed.point(place).get("window") for place in range(3)] == [[0, 30], [30, 60], [60, 90]]
    assert [(listed.point(place)["seed"], listed.point(place)["limit"]) for place in range(3, 7)] == [
        (1, 40),
        (1, 41),
        (2, 40),
        (2, 41),
    ]
    with pytest.raises(InputError, match=r"line 5, points #3: example: no request arrives from 4500 s to 9000 s"):
        listed.check()


def test_a_search_on_too_few_requests_stops_it(tmp_path: Path) -> None:
    text = "run: {trace: example}\naxes: {policy: [fcfs], limit: [90, 20]}\ncapacity: {target: 0.9}"
    with pytest.raises(InputError, match=r"line 2, axes limit #2: example: 20 requests, allowed for a search is 30"):
        study(tmp_path, text).check()


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ("policy: [chunked:512, edf]\n  policy.budget: [64, 128]", "line 3, axes policy #2: policy 'edf:budget=64'"),
        (
            "mix.text: [0.1, 0.7]\n  mix.search: [0.2, 0.5]",
            "line 4, axes mix.search: sum of the shares of the mix must be",
        ),
        ("model: [llama3-8b, qwen3-8b]\n  slo: [0.5, null]", "line 4, axes slo: no TTFT SLOs are known"),
        (
            "prefix_cache: [none, ideal]\n  trace: [blocks.jsonl, example]",
            "line 4, axes trace: example: has no prefix blocks",
        ),
        (
            "limit: [5, 80]\n  window: ['0:90', '90:120']\n  trace: [example, 'synthetic:qwen:50']",
            "line 5, axes trace: ",
        ),
    ],
)
def test_values_that_are_wrong_only_together_stop_it_too(tmp_path: Path, axes: str, message: str) -> None:
    row = '{"arrival_s": %d, "input_length": 900, "hash_ids": [1, 2], "block_tokens": 512}\n'
    (tmp_path / "blocks.jsonl").write_text("".join(row % second for second in range(9)))
    with pytest.raises(InputError) as error:
        study(tmp_path, f"run: {{trace: example}}\naxes:\n  {axes}").check()
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("axis", "given", "values"),
    [
        ("seed", {"from": 0, "to": 3}, (0, 1, 2, 3)),
        ("slo_scale", {"from": 0.4, "to": 1.0, "step": 0.2}, (0.4, 0.6, 0.8, 1.0)),
        ("rate_rps", {"from": 1, "to": 2, "step": 0.4}, (1.0, 1.4, 1.8)),
        ("window", {"from": 0, "to": 900, "step": 300}, ([0, 300], [300, 600], [600, 900])),
    ],
)
def test_a_range_includes_its_end(axis: str, given: object, values: tuple[object, ...]) -> None:
    assert Study.of({"axes": {axis: given}}).axes[axis] == values


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("chunked:2048", "chunkd", "line 5, axes policy #2: unknown policy 'chunkd'; did you mean 'chunked'?"),
        ("synthetic:qwen:100", "no.jsonl", "line 3, run trace: no.jsonl: no such file"),
        (
            "synthetic:qwen:100",
            "synthetic:qwen",
            "line 3, run trace: trace 'synthetic:qwen', allowed is synthetic:PRESET:N",
        ),
        ("policy:", "polcy:", "line 5, axes polcy #1: unknown option 'polcy'; did you mean 'policy'?"),
        ("step: 4", "step: -1", "line 6, axes rate_rps: allowed is {from: FIRST, to: LAST, step: STEP}"),
        ("step: 4", "stp: 4", "line 6, axes rate_rps: unknown key of a range 'stp'"),
        ("from: 8", "from: 0", "line 6, axes rate_rps #1: rate_rps is 0, allowed is a positive number"),
        ("axes:", "axs:", "line 4, axs: unknown section 'axs'; did you mean 'axes'?"),
        ("[fcfs", "[3", "line 5, axes policy #1: policy is 3, allowed is a text"),
        ("title: Rate", "capacity: {target: 2}", "line 1, capacity: target is 2, allowed is a share"),
        ("title: Rate", "capacity: {tolerance: 1.0e-17}", "line 1, capacity: tolerance is 1e-17, allowed is 1e-06"),
        ("title: Rate", "capacity:", "line 1, capacity: found nothing, allowed is a mapping such as"),
        ("title: Rate", "title: [1]", "line 1, title: found [1], allowed is a text"),
        ("title: Rate", "points: &all [{tp: 1}, *all]", "study.yaml: a part contains itself"),
        ("title: Rate", "capacity: {by: user}", "line 1, capacity: unknown value of by 'user'"),
        ("title: Rate", "capacity: {target: 0.9}", "line 6, axes rate_rps #1: rate_rps is given, but a study with"),
        ("title: Rate", "requests: maybe", "line 1, requests: found 'maybe', allowed is true or false"),
        ("title: Rate", "points: [{policy: edf}, 7]", "line 1, points #2: found 7, allowed is a mapping"),
        ("title: Rate", "points: [{tp: 1}, {slo: 0.x}]", "line 1, points #2: unknown SLO mix '0.x'"),
        ("  seed", "  gpu: [h200,\n   a1000]\n  seed", "line 8, axes gpu #2: unknown gpu 'a1000'"),
        ("  seed", "  window: ['5']\n  seed", "line 7, axes window #1: window '5': allowed is FROM:TO"),
        ("  seed", "  warmup: [1.5]\n  seed", "line 7, axes warmup #1: warmup is 1.5, allowed is a share"),
        ("  seed", "  mix.txt: [0.5]\n  seed", "line 7, axes mix.txt #1: mix: unknown class 'txt'"),
        (
            "  seed",
            "  policy.budget: [64]\n  seed",
            "line 7, axes policy.budget #1: policy 'fcfs:budget=64': unknown option",
        ),
        ("  seed: {from: 0, to: 2}", "  seed: 7", "line 7, axes seed: allowed is a list of values"),
        ("Rate", "[", "study.yaml: not YAML"),
        ("axes:", "run: {}\naxes:", "study.yaml, line 4: run is there already, in line 2"),
        ("to: 2}", "to: 1.0e+8}", "line 7, axes seed: 100,000,000 values, allowed is 1,000,000 at most"),
        ("  trace", "  cost: nowhere\n  trace", "line 3, run cost: nowhere: found no folder; allowed: an"),
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
    if path.stem == "production" and not (ROOT.parent / "shared" / "traces").is_dir():
        pytest.skip("the production traces are not here")
    ready.check()
    assert ready.title and len(ready) >= 50


def test_values_take_the_kind_of_their_option() -> None:
    point = Point.of(
        {"trace": "example", "slo": 2, "slo_scale": 1, "window": [0, 30], "mix.text": 1, "policy.cut": "layer"}
    )
    assert (point.slo, point.slo_scale, point.window, point.mix) == ("2", 1.0, "0:30", {"text": 1.0})
    assert point.spec == "flowprefill:cut=layer"
    assert point.columns["policy"] == "flowprefill:cut=layer" and point.columns["mix.text"] == 1.0
    check(point, ".")
    assert Point.of({"trace": "example", "window": [1234567, 1239999.25]}).window == "1234567:1239999.25"
    assert Point.of({"trace": "example", "slo": 0.12345678}).slo == "0.12345678"
    more = Point.of({"trace": "example", "policy": "sjf:4096", "policy.cut": "block"})
    assert more.spec == "sjf:4096,cut=block"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "no trace, allowed is a file"),
        ({"trace": "example", "seed": 1.5}, "seed is 1.5, allowed is a whole number"),
        ({"trace": "example", "seed": -1}, "seed is -1, allowed is a whole number from 0"),
        ({"trace": "example", "seed": True}, "seed is True, allowed is a whole number"),
        ({"trace": "example", "slo_scale": "x"}, "slo_scale is 'x', allowed is a number"),
        ({"trace": "example", "slo_scale": float("nan")}, "slo_scale is nan, allowed is a number"),
        ({"trace": "example", "rate_rps": 2, "rate_scale": 2}, "rate_rps and rate_scale both given"),
        ({"trace": "example", "instances": 0}, "instances must be >= 1, got 0"),
        ({"trace": "example", "window": ["a", "b"]}, "window is 'a', allowed is a number"),
        ({"trace": "example", "new_tokens": 1}, "new_tokens is 1, allowed is true or false"),
        (
            {"trace": "example", "prefix_cache": "big"},
            "prefix cache must be none, ideal or lru:BLOCKS with",
        ),
        ({"trace": "example", "prefix_cache": "ideal"}, "no prefix blocks"),
        ({"trace": "example", "until_s": 0}, "until_s is 0.0, allowed is a number of seconds above 0"),
    ],
)
def test_wrong_values_of_a_point(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(Point.of(values), ".")
