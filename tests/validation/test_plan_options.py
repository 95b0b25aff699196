"""Plans: what they refuse, and the requests of their cases."""

import json
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

import flowsim
from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.errors import InputError
from flowsim.runs.options import RunOptions
from flowsim.studies.point import prepared
from flowsim.validation.plan import Plan, cases_of, requests_of


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"run": {"trace": "example", "model": 3}}, "model must be non-empty text, got 3"),
        ({"run": {"trace": "example", "slo": {"scale": -1}}}, "slo.scale must be > 0, got -1"),
        ({"run": {"trace": "example", "predictor": "nope"}}, "unknown predictor 'nope'"),
        ({"run": {"trace": "example", "server": {"instances": 2}}}, "instances must be 1, as there is one GPU, got 2"),
        ({"run": {"trace": "example", "until_s": 3.0}}, "until_s: is not an option of a validation"),
        ({"run": 3}, "run must be RunOptions, or the name of a trace, got 3"),
        ({"repeats": "x"}, "repeats must be a whole number >= 1 and <= 100, got 'x'"),
        ({"repeats": 101}, "repeats must be <= 100, got 101"),
        ({"policies": "fcfs"}, "policies must be a list (each item non-empty text), got 'fcfs'"),
        ({"policies": []}, "policies must be one or more, got []"),
        ({"policies": ["fifo"]}, "unknown policy 'fifo'"),
        ({"loads": [0.5, 0.0]}, "loads[1] must be >= 0.01, got 0"),
        ({"duration_s": 0}, "duration_s must be > 0, got 0"),
    ],
)
def test_a_wrong_plan_is_an_error_of_one_line(values: dict, said: str) -> None:
    with pytest.raises(InputError) as error:
        Plan(**{"run": "example", **values})
    assert said in str(error.value)


def test_a_plan_may_be_of_the_name_of_a_trace_alone() -> None:
    assert Plan("example").run == RunOptions(trace="example")


def test_the_slos_of_a_plan_are_those_of_the_model_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "llama3-8b.json"
    sizes = {"num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8}
    sizes |= {"intermediate_size": 14336, "vocab_size": 128256, "max_position_embeddings": 8192}
    file.write_text(json.dumps({"model_type": "llama", **sizes}))
    options = requests_of(Plan(RunOptions(trace="example", model=str(file)))).options
    assert options == structs.replace(requests_of(Plan("example")).options, model=str(file))


def test_the_options_of_evidence_are_by_keyword() -> None:
    shared = Plan(RunOptions(trace="example", slo="0.5", seed=3)).shared
    known = ["model", "slo", "slo_scale", "format", "spread", "drop_failed", "predictor", "server", "seed"]
    assert list(shared) == known
    assert (shared["slo"], shared["seed"], shared["server"]["instances"]) == ("0.5", 3, 1)


def test_cases_have_the_classes_of_the_slo_file_as_the_search_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("slo.yaml").write_text("ttft_s: {text: 0.5, file: 6}\nrates: {text: 1, file: 3}\n")
    names = np.array(["text", "image", "search", "file"])
    classes = names[np.arange(400) % 4]
    trace = flowsim.Trace.of(np.arange(400) * 0.1, np.full(400, 100), classes=classes)
    flowsim.traces.write_trace(trace, "classes.jsonl")
    load_table("h200", "llama3-8b").save("table")
    plan = Plan({"trace": "classes.jsonl", "slo": "slo.yaml"}, ["fcfs"], rate_scale=1.0, duration_s=20.0)
    searched = prepared(plan.point("fcfs", "table"), ".")
    (case,) = cases_of(plan, requests_of(plan), "fcfs", Path("table"), searched.costs.model)
    for codes, known in (
        (searched.slo.class_code, searched.slo.class_names),
        (np.array(case.class_code), case.class_names),
    ):
        shares = {name: float((codes == known.index(name)).mean()) for name in ("text", "file")}
        assert shares == pytest.approx({"text": 0.25, "file": 0.75}, abs=0.06)
    assert case.rate_rps == pytest.approx(4.0, rel=0.2)
