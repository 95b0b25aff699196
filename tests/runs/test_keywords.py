"""The options of a run as keyword arguments: the signature and the documentation that they give, and their reading."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import flowsim
from flowsim.cli.main import main
from flowsim.core.server import ServerOptions
from flowsim.core.slo_mix import SLOMix
from flowsim.errors import InputError
from flowsim.policies.edf import EDF
from flowsim.policies.registry import PolicySpec
from flowsim.runs.compare import compare
from flowsim.runs.keywords import documented, from_keywords, named_policy, paths_of, renamed
from flowsim.runs.options import RunOptions, SLOOptions, by_keyword
from flowsim.runs.prepare import Given
from flowsim.runs.run import run
from flowsim.runs.workload import WorkloadOptions
from flowsim.traces import Trace
from support.costs import pencil

KEYWORDS = [
    "cost",
    "model",
    "gpu",
    "tp",
    "correct",
    "format",
    "spread",
    "drop_failed",
    "window",
    "limit",
    "rate_scale",
    "rate_rps",
    "concurrency",
    "mix",
    "rates",
    "prefix_cache",
    "new_tokens",
    "slo",
    "slo_scale",
    "slo_targets",
    "shares",
    "predictor",
    "instances",
    "router",
    "slots",
    "max_batched_tokens",
    "kv_tokens",
    "block_tokens",
    "graph_tokens",
    "frontend_s",
    "jitter",
    "return_s",
    "host_s",
    "host_request_s",
    "device_factor",
    "stack",
    "seed",
    "until_s",
    "warmup",
    "bound",
    "server",
]


@documented
def example(trace: str, policy: str = "fcfs", *, loud: bool = False, **options: Any) -> None:
    """An example.

    Args:
        trace: the trace.
        {options}
    """


def options_from(**keywords: Any) -> RunOptions:
    """The options of the example under fcfs, without objects."""
    read, given = from_keywords("example", "fcfs", keywords)
    assert given == Given()
    return read


@pytest.mark.parametrize(
    ("function", "own"),
    [
        (run, ["trace", "policy", "events", "progress"]),
        (compare, ["trace", "policies", "events", "progress"]),
        (example, ["trace", "policy", "loud"]),
    ],
)
def test_a_signature_ends_with_every_option_in_the_order_of_the_declaration(function: Any, own: list[str]) -> None:
    parameters = inspect.signature(function).parameters
    assert list(parameters) == own + KEYWORDS
    for name in KEYWORDS[:-1]:
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[name].default == by_keyword()[name].default, name
    assert parameters["server"].default is None


def test_documentation_says_what_the_declaration_says() -> None:
    lines = (example.__doc__ or "").splitlines()
    start = lines.index("        trace: the trace.")
    assert lines[start + 1 : start + 7] == [
        "        cost: Operator table of your own (from flowsim calibrate).",
        "        model: Model whose costs and SLOs are used.",
        "        gpu: GPU on which the costs were measured.",
        "        tp: Tensor-parallel degree.",
        "        correct: Multiply an imported table by how many times as long prompts took where both were measured.",
        "        format: Format of the trace. Default: found by content.",
    ]
    last = "        server: `ServerOptions`, or a mapping of them, in place of instances, router, slots and so on."
    assert last in lines
    assert max(map(len, lines)) <= 120
    for name in KEYWORDS:
        assert sum(line.startswith(f"        {name}: ") for line in lines) == 1, name


@pytest.mark.parametrize("server", [{"instances": 2, "slots": 3}, ServerOptions(instances=2, slots=3)])
def test_a_server_is_a_mapping_a_struct_or_its_options_one_by_one(server: Any) -> None:
    expected = RunOptions(trace="example", policy=PolicySpec("fcfs"), server=ServerOptions(instances=2, slots=3))
    assert options_from(server=server) == options_from(instances=2, slots=3) == expected
    assert options_from(server={"instances": 2}, slots=3) == expected


def test_keywords_and_paths_give_the_same_options() -> None:
    expected = RunOptions(
        trace="example",
        policy=PolicySpec("fcfs"),
        slo=SLOOptions(mix=0.5, scale=2.0),
        workload=WorkloadOptions(limit=3),
    )
    assert options_from(slo=0.5, slo_scale=2, limit=3) == expected
    assert options_from(**{"slo.mix": 0.5, "slo.scale": 2, "workload": {"limit": 3}}) == expected
    assert paths_of({"slo_scale": 2, "slots": 1}) == {"slo.scale": 2, "server.slots": 1}


def test_objects_are_given_beside_the_options_that_name_them() -> None:
    trace, policy, costs = Trace.of([0, 1], [1, 2], name="two"), EDF(cut="layer"), pencil()
    read, given = from_keywords(trace, policy, {"cost": costs, "slo": SLOMix.uniform(4)})
    assert (given.trace, given.policy, given.cost) == (trace, policy, costs)
    assert (read.trace, str(read.policy), read.cost) == ("built in memory", "edf:cut=layer", costs.name)
    assert read.slo.mix == SLOMix.uniform(4).to_dict()
    assert named_policy("edf:cut=layer") == (PolicySpec("edf", {"cut": "layer"}), None)


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"slot": 3}, "unknown option 'slot'; did you mean 'slots'? (known: block_tokens, bound, concurrency, "),
        ({"slots": 0}, "slots must be >= 1, got 0"),
        ({"server": {"slots": 0}}, "slots must be >= 1, got 0"),
        ({"server": {"slotz": 2}}, "unknown option 'server.slotz'; did you mean 'server.slots'?"),
        ({"server": 3}, "server must be a mapping of instances, router, slots, max_batched_tokens, kv_tokens, "),
        ({"slots": 2, "server": {"slots": 2}}, "slots: is given twice"),
        ({"slo_scale": 2, "slo.scale": 1}, "slo.scale: is given twice"),
        ({"slo_scale": 0}, "slo_scale must be > 0, got 0"),
        ({"rate_scale": "fast"}, "rate_scale must be a number > 0, got 'fast'"),
    ],
)
def test_an_error_names_the_keyword(keywords: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        options_from(**keywords)
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    ("function", "name", "said"),
    [
        (compare, "policy", "policy: is given; expected policies=['fcfs', 'flowprefill'], each with its options"),
        (compare, "policy.cut", "policy.cut: is given; expected policies=["),
        (flowsim.capacity, "policy", "policy: is given; expected policies="),
        (flowsim.bound, "policy", "policy: is given, but this holds for every policy; expected none"),
        (flowsim.offered_load, "policy.cut", "policy.cut: is given, but this holds for every policy; expected none"),
        (compare, "polices", "unknown option 'polices'; did you mean 'policies'?"),
        (flowsim.capacity, "polices", "unknown option 'polices'; did you mean 'policies'?"),
        (run, "polcy", "unknown option 'polcy'; did you mean 'policy'?"),
    ],
)
def test_a_policy_is_not_accepted_where_it_would_be_ignored(function: Any, name: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        function("example", **{name: ["layer"]})
    assert str(error.value).startswith(said)
    with pytest.raises(InputError, match="unknown option 'polcy'"):
        flowsim.bound("example", polcy="fcfs")


def test_an_error_is_about_its_option_by_another_name_or_stays_as_it_is() -> None:
    slots = InputError("server.slots", found=0, expected=">= 1")
    assert str(renamed(slots, lambda option: option.flag)) == "--slots must be >= 1, got 0"
    rate = InputError("workload.rate_rps", found=0, expected="> 0")
    assert str(renamed(rate, lambda option: option.flag)) == "rate_rps must be > 0, got 0"  # it has no flag
    other = InputError("t.jsonl", "is empty")
    assert renamed(other, lambda option: option.flag) is other


@pytest.mark.parametrize("name", ["mix.jsonl", "seed.jsonl", "policy.jsonl", "cost.v2.jsonl", "model.v1/a.jsonl"])
def test_what_is_said_of_a_file_keeps_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text('{"arrival_s": -1, "input_length": 3}\n')
    for command in ("run", "compare", "explain", "bound"):
        with pytest.raises(SystemExit):
            main([command, name])
        assert capsys.readouterr().err.startswith(f"flowsim: error: {name}: line 1: arrival_s must be")
    with pytest.raises(InputError, match=f"^{re.escape(name)}: line 1: arrival_s must be"):
        run(name, "fcfs")


def test_what_is_said_of_an_slo_file_keeps_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("slo.yaml").write_text("ttft_s: {text: -1}\n")
    with pytest.raises(SystemExit):
        main(["run", "example", "--slo", "slo.yaml"])
    assert "error: slo.yaml: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--slo", "a=-1"], "--slo: a must be > 0"),
        (["--shares", "a=-1"], "--shares: a must be >= 0"),
        (["--mix", "text=-1"], "--mix: text must be from 0 to 1"),
        (["--gpu", "none"], "--gpu: unknown gpu 'none'"),
        (["--tp", "3"], "--tp must be a divisor of"),
        (["--predictor", "none"], "--predictor: unknown predictor"),
    ],
)
def test_an_error_of_the_command_line_names_the_flag(
    capsys: pytest.CaptureFixture[str], typed: list[str], said: str
) -> None:
    with pytest.raises(SystemExit):
        main(["run", "example", *typed])
    assert capsys.readouterr().err.startswith(f"flowsim: error: {said}")


def test_neither_a_trace_nor_a_policy() -> None:
    with pytest.raises(InputError, match=r"^trace must be a Trace, or the name of one, got 3$"):
        from_keywords(3, "fcfs", {})  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^policy object: has no method choose\(view\)$"):
        from_keywords("example", object(), {})  # type: ignore[arg-type]
