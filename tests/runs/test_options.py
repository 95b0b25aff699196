"""The declaration of a run's options: every name, default and bound, and the ways in which values are given."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsim.core.server import ServerOptions
from flowsim.core.slo_mix import SLOMix
from flowsim.errors import InputError
from flowsim.policies.catalogue import TABLE
from flowsim.policies.registry import PolicySpec
from flowsim.runs.options import (
    RunOptions,
    SLOOptions,
    columns,
    flat,
    from_values,
    is_option,
    options,
    to_values,
)
from flowsim.runs.slos import slo_file
from flowsim.runs.workload import WorkloadOptions

DECLARED = {
    "policy": ("policy", "--policy", PolicySpec("flowprefill")),
    "cost": ("cost", "--cost", None),
    "model": ("model", "--model", "llama3-8b"),
    "gpu": ("gpu", "--gpu", "h200"),
    "tp": ("tp", "--tp", 1),
    "correct": ("correct", "--correct", False),
    "workload.format": ("format", "--format", None),
    "workload.spread": ("spread", "--spread", True),
    "workload.drop_failed": ("drop_failed", "--drop-failed", False),
    "workload.window": ("window", "--window", None),
    "workload.limit": ("limit", "--limit", None),
    "workload.rate_scale": ("rate_scale", "--rate-scale", 1.0),
    "workload.rate_rps": ("rate_rps", "", None),
    "workload.concurrency": ("concurrency", "--concurrency", None),
    "workload.mix": ("mix", "--mix", None),
    "workload.rates": ("rates", "", None),
    "workload.prefix_cache": ("prefix_cache", "--prefix-cache", "none"),
    "workload.new_tokens": ("new_tokens", "--new-tokens", False),
    "slo.mix": ("slo", "--slo", None),
    "slo.scale": ("slo_scale", "--slo-scale", 1.0),
    "slo.targets": ("slo_targets", "", None),
    "slo.shares": ("shares", "--shares", None),
    "predictor": ("predictor", "--predictor", "cubic"),
    "server.instances": ("instances", "--instances", 1),
    "server.router": ("router", "--router", "round-robin"),
    "server.slots": ("slots", "--slots", 128),
    "server.max_batched_tokens": ("max_batched_tokens", "--max-batched-tokens", 8192),
    "server.kv_tokens": ("kv_tokens", "--kv-tokens", None),
    "server.block_tokens": ("block_tokens", "--block-tokens", 16),
    "server.graph_tokens": ("graph_tokens", "--graph-tokens", 0),
    "server.frontend_s": ("frontend_s", "--frontend-s", 0.0),
    "server.jitter": ("jitter", "--jitter", "none"),
    "server.return_s": ("return_s", "--return-s", 0.0),
    "server.host_s": ("host_s", "--host-s", 0.0),
    "server.host_request_s": ("host_request_s", "--host-request-s", 0.0),
    "server.device_factor": ("device_factor", "--device-factor", 1.0),
    "server.stack": ("stack", "--stack", None),
    "seed": ("seed", "--seed", 0),
    "until_s": ("until_s", "--until", None),
    "warmup": ("warmup", "--warmup", 0.0),
    "bound": ("bound", "--bound", None),
}
"""Keyword, flag and default of every option by path; the trace, which has no default, apart."""


def made(values: dict[str, Any]) -> RunOptions:
    return from_values({"trace": "example", **values})


def refused(values: dict[str, Any]) -> str:
    """What is said of these values."""
    with pytest.raises(InputError) as error:
        made(values)
    return str(error.value)


def test_every_option_has_its_names_and_its_default() -> None:
    declared = {path: (one.keyword, one.flag, one.default) for path, one in options().items()}
    assert (declared.pop("trace")[:2], declared) == (("trace", "--trace"), DECLARED)
    assert made({}) == RunOptions(trace="example")


WRONG = [
    ("trace", "", "must be non-empty text, got ''"),
    ("trace", 3, "must be non-empty text, got 3"),
    ("trace", None, "must be non-empty text, got nothing"),
    ("policy", "", f": unknown policy '' (known: {', '.join(sorted(TABLE))})"),
    (
        "policy",
        3,
        "must be text such as 'edf', or a mapping of name and options, got 3",
    ),
    ("cost", "", "must be non-empty text, got ''"),
    ("cost", 3, "must be non-empty text, got 3"),
    ("model", "", "must be non-empty text, got ''"),
    ("model", 1, "must be non-empty text, got 1"),
    ("gpu", "", "must be non-empty text, got ''"),
    ("tp", 0, "must be >= 1, got 0"),
    ("tp", 1.5, "must be a whole number >= 1, got 1.5"),
    ("tp", "2", "must be a whole number >= 1, got '2'"),
    ("tp", True, "must be a whole number >= 1, got True"),
    ("tp", 2**53 + 1, "must be <= 2^53, got 9007199254740993"),
    ("correct", 1, "must be true or false, got 1"),
    ("workload.format", "", "must be non-empty text, got ''"),
    ("workload.spread", 0, "must be true or false, got 0"),
    ("workload.drop_failed", "all", "must be true or false, got 'all'"),
    ("workload.window", [1], "must be FROM:TO in seconds, with 0 <= FROM < TO, got [1.0]"),
    ("workload.window", "5", "must be FROM:TO in seconds, with 0 <= FROM < TO, got '5'"),
    ("workload.window", "2:1", "must be FROM:TO in seconds, with 0 <= FROM < TO, got '2:1'"),
    ("workload.window", "a:b", "must be FROM:TO in seconds, with 0 <= FROM < TO, got 'a:b'"),
    ("workload.window", 3, "must be a list (each item a number) or non-empty text, got 3"),
    ("workload.limit", 0, "must be >= 1, got 0"),
    ("workload.limit", 1.5, "must be a whole number >= 1, got 1.5"),
    ("workload.limit", "few", "must be a whole number >= 1, got 'few'"),
    ("workload.rate_scale", 0, "must be > 0, got 0"),
    ("workload.rate_scale", "x", "must be a number > 0, got 'x'"),
    ("workload.rate_scale", math.nan, "must be a number > 0, got nan"),
    ("workload.rate_scale", math.inf, "must be <= 2^53, got inf"),
    ("workload.rate_rps", 0, "must be > 0, got 0"),
    ("workload.concurrency", 0, "must be >= 1, got 0"),
    ("workload.mix", 3, "must be a mapping (each value a number) or non-empty text, got 3"),
    ("workload.mix", {"text": "x"}, ".text must be a number, got 'x'"),
    ("workload.rates", {"text": -1}, ".text must be > 0, got -1"),
    (
        "workload.prefix_cache",
        "idael",
        ": unknown prefix cache 'idael'; did you mean 'ideal'? (known: ideal, lru:BLOCKS, none)",
    ),
    ("workload.prefix_cache", "lru:0", "must be none, ideal or lru:BLOCKS with BLOCKS >= 1, got 'lru:0'"),
    ("workload.new_tokens", "yes", "must be true or false, got 'yes'"),
    ("workload.new_tokens", 1, "must be true or false, got 1"),
    ("slo.mix", "", "must be a mapping or non-empty text or a number > 0, got ''"),
    ("slo.mix", 0, "must be > 0, got 0"),
    ("slo.mix", True, "must be a mapping or non-empty text or a number > 0, got True"),
    ("slo.mix", {"text": "x"}, ".text must be a number > 0, got 'x'"),
    ("slo.mix", {"text": -1}, ".text must be > 0, got -1"),
    ("slo.targets", {"text": "x"}, ".text must be a number > 0, got 'x'"),
    ("slo.shares", {"text": -0.1}, ".text must be >= 0, got -0.1"),
    ("slo.shares", "text", "must be CLASS=SHARE pairs, got 'text'"),
    ("slo.scale", 0, "must be > 0, got 0"),
    ("slo.scale", "2", "must be a number > 0, got '2'"),
    ("predictor", "", "must be non-empty text, got ''"),
    ("server.instances", 0, "must be >= 1, got 0"),
    ("server.instances", 100_001, "must be <= 100000, got 100001"),
    ("server.instances", "two", "must be a whole number >= 1 and <= 100000, got 'two'"),
    ("server.router", "random", ": unknown router 'random' (known: least-work, round-robin)"),
    ("server.slots", 0, "must be >= 1, got 0"),
    ("server.max_batched_tokens", 0, "must be >= 1, got 0"),
    ("server.kv_tokens", 0, "must be >= 1, got 0"),
    ("server.kv_tokens", "x", "must be a whole number >= 1, got 'x'"),
    ("server.block_tokens", 0, "must be >= 1, got 0"),
    ("server.graph_tokens", -1, "must be >= 0, got -1"),
    ("server.frontend_s", -1, "must be >= 0, got -1"),
    ("server.jitter", "gaussian:1", ": unknown jitter 'gaussian' (known: exponential, lognormal, none)"),
    ("server.jitter", "exponential", "must be exponential:MEAN, numbers >= 0, got 'exponential'"),
    ("server.return_s", -1, "must be >= 0, got -1"),
    ("server.host_request_s", -1, "must be >= 0, got -1"),
    ("server.stack", 3, "must be non-empty text, got 3"),
    ("server.host_s", -1, "must be >= 0, got -1"),
    ("server.device_factor", 0, "must be > 0, got 0"),
    ("server.graph_tokens", 65, "must be a multiple of 64, got 65"),
    ("seed", -1, "must be >= 0, got -1"),
    ("seed", 0.5, "must be a whole number >= 0, got 0.5"),
    ("until_s", 0, "must be > 0, got 0"),
    ("until_s", math.inf, "must be <= 2^53, got inf"),
    ("warmup", 1, "must be < 1, got 1"),
    ("warmup", -0.1, "must be >= 0, got -0.1"),
    ("warmup", "x", "must be a number >= 0 and < 1, got 'x'"),
    ("bound", "no", "must be true or false, got 'no'"),
]
"""For every option, values that do not fit, and what is said of them after its path."""


@pytest.mark.parametrize(("path", "value", "said"), WRONG)
def test_a_wrong_value_is_said_with_the_path_of_its_option(path: str, value: Any, said: str) -> None:
    text = f"{path}{said}" if said[0] in ":." else f"{path} {said}"
    assert refused({path: value}) == text
    section, _, name = path.rpartition(".")
    assert refused({section: {name: value}} if section else {path: value}) == text


def test_every_option_has_a_wrong_value_here() -> None:
    assert {path for path, *_ in WRONG} == options().keys()


@pytest.mark.parametrize("path", [path for path in options() if "." in path])
def test_an_option_by_its_keyword_alone_is_told_its_path(path: str) -> None:
    """As configs were written before there were sections."""
    keyword = options()[path].keyword
    if keyword == "slo":  # a section that may be given as a plain value
        return
    if keyword in options():
        assert keyword == path
    assert refused({keyword: 1}) == f"unknown option {keyword!r}; did you mean {path!r}?"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"polcy": "fcfs"}, "unknown option 'polcy'; did you mean 'policy'?"),
        (
            {"server": {"slotz": 1}},
            "unknown option 'server.slotz'; did you mean 'server.slots'? (known: bound, correct, cost, ",
        ),
        ({"workload.mix.text.x": 1}, "unknown option 'workload.mix.text.x'; did you mean 'workload.mix'? (known: "),
        (
            {"slo": {"scale": 2, "mx": 1}},
            "unknown option 'slo.mx'; did you mean 'slo.mix'? (known: bound, correct, cost, ",
        ),
        ({3: 4}, "unknown option '3' (known: bound, correct, cost, "),
        ({"server": {3: 4}}, "unknown option 'server.3'"),
        ({"slo": 0.5, "slo.mix": 1}, "slo.mix: is given twice"),
        ({"server": {"slots": 1}, "server.slots": 2}, "server.slots: is given twice"),
        (
            {"server": 3},
            "server must be a mapping of instances, router, slots, max_batched_tokens, kv_tokens, block_tokens, "
            "graph_tokens, frontend_s, jitter, return_s, host_s, host_request_s, device_factor, stack, got 3",
        ),
        (
            {"workload": []},
            "workload must be a mapping of format, spread, drop_failed, window, limit, rate_scale, rate_rps, "
            "concurrency, mix, rates, prefix_cache, new_tokens, got []",
        ),
        (
            {"workload": {"rate_rps": 1, "rate_scale": 2}},
            "workload.rate_rps: is given together with rate_scale; expected one of them",
        ),
        (
            {"workload": {"mix": "text=1", "rates": {"text": 1}}},
            "workload.mix: is given together with rates, which are a mix too; expected one of them",
        ),
    ],
)
def test_wrong_names_and_sections(values: dict[str, Any], said: str) -> None:
    assert refused(values).startswith(said)


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ({"slo": 0.5}, {"slo": SLOOptions(mix=0.5)}),
        ({"slo": "text=1,*=2"}, {"slo": SLOOptions(mix="text=1,*=2")}),
        ({"slo": None, "server": None}, {}),
        ({"slo": {"mix": 1, "scale": 2}}, {"slo": SLOOptions(mix=1.0, scale=2.0)}),
        ({"slo": {"text": 1, "*": 4}}, {"slo": SLOOptions(mix={"text": 1.0, "*": 4.0})}),
        ({"slo": {"ttft_s": {"text": 1}}}, {"slo": SLOOptions(mix={"ttft_s": {"text": 1}})}),
        (
            {"slo": {"shares.text": 0.2, "mix": "text=1,*=4"}},
            {"slo": SLOOptions(mix="text=1,*=4", shares={"text": 0.2})},
        ),
        ({"slo.targets.text": 1}, {"slo": SLOOptions(targets={"text": 1.0})}),
        (
            {"slo.shares": "text=.5", "slo.shares.search": 0.25},
            {"slo": SLOOptions(shares={"text": 0.5, "search": 0.25})},
        ),
        ({"server": {"slots": 1}, "server.instances": 2}, {"server": ServerOptions(slots=1, instances=2)}),
        ({"server": ServerOptions(slots=3), "server.instances": 2}, {"server": ServerOptions(slots=3, instances=2)}),
        ({"policy": "edf", "policy.cut": "layer"}, {"policy": PolicySpec("edf", {"cut": "layer"})}),
        ({"policy.reserve": 0.2}, {"policy": PolicySpec("flowprefill", {"reserve": 0.2})}),
        ({"workload": {"mix.text": 0.5}}, {"workload": WorkloadOptions(mix={"text": 0.5})}),
        (
            {"workload.mix": "text=.5", "workload.mix.search": 0.25},
            {"workload": WorkloadOptions(mix={"text": 0.5, "search": 0.25})},
        ),
        ({"workload.window": "1:"}, {"workload": WorkloadOptions(window=(1.0, None))}),
        ({"warmup": 0}, {"warmup": 0.0}),
    ],
)
def test_values_are_given_in_sections_by_path_or_as_what_a_section_stands_for(
    values: dict[str, Any], fields: dict[str, Any]
) -> None:
    assert made(values) == RunOptions(trace="example", **fields)


def test_slos_by_class_in_python_are_a_mix() -> None:
    by_class = RunOptions(trace="example", slo={"text": 0.25, "*": 1})  # type: ignore[arg-type]
    assert by_class.slo.mix == {"text": 0.25, "*": 1.0}
    assert slo_file(by_class.slo.mix, "x").mix == SLOMix.parse("text=0.25,*=1")


def test_which_paths_are_options() -> None:
    for path in (
        "seed",
        "server.slots",
        "policy.anything",
        "workload.mix.text",
        "workload.rates.text",
        "slo.shares.a",
        "slo.targets.a",
    ):
        assert is_option(path), path
    for path in ("server", "slots", "seed.x", "slo.mix.text", "workload.text", ""):
        assert not is_option(path), path
    assert flat({"server": {"slots": 1}, "slo": 2}) == {"server.slots": 1, "slo.mix": 2}


# Round trips over all options.

positive, count = st.floats(1e-6, 1e6), st.integers(1, 2**53)
names = st.text("abcz-:=.,*", min_size=1, max_size=8)
weights = st.dictionaries(st.sampled_from(["text", "image", "search", "file"]), positive, min_size=1)
windows = st.tuples(st.floats(0, 100), st.floats(101, 1000) | st.none())
rates = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"rate_scale": positive}),
    st.fixed_dictionaries({"rate_rps": positive}),
    st.fixed_dictionaries({"mix": weights | st.just("text=.5,search=.25")}),
    st.fixed_dictionaries({"rates": weights}),
)
workloads = st.builds(
    lambda rate, plain: {**plain, **rate},
    rates,
    st.fixed_dictionaries(
        {},
        optional={
            "format": names,
            "spread": st.booleans(),
            "drop_failed": st.booleans(),
            "window": windows | windows.map(lambda w: f"{w[0]!r}:{w[1] or ''!s}"),
            "limit": count,
            "prefix_cache": st.sampled_from(["none", "ideal"]) | st.integers(1, 10**9).map("lru:{}".format),
            "new_tokens": st.booleans(),
        },
    ),
)
servers = st.fixed_dictionaries(
    {},
    optional={
        "instances": st.integers(1, 100_000),
        "router": st.sampled_from(["round-robin", "least-work"]),
        "slots": count,
        "max_batched_tokens": count,
        "kv_tokens": count | st.none(),
        "block_tokens": count,
        "graph_tokens": st.integers(0, 100).map(lambda n: 64 * n),
    },
)
slos = st.fixed_dictionaries(
    {},
    optional={
        "mix": positive | names | weights | st.none(),
        "scale": positive,
        "targets": weights,
        "shares": weights | st.just("text=.7,search=.3"),
    },
)
runs = st.fixed_dictionaries(
    {"trace": names},
    optional={
        "policy": st.sampled_from(["fcfs", "chunked:512", "edf:cut=layer", "flowprefill:reserve=0.2,wake=cuts"]),
        "cost": names | st.none(),
        "model": names,
        "gpu": names,
        "tp": count,
        "correct": st.booleans(),
        "workload": workloads,
        "slo": slos,
        "predictor": names,
        "server": servers,
        "seed": st.integers(0, 2**53),
        "until_s": positive | st.none(),
        "warmup": st.floats(0, 1, exclude_max=True),
        "bound": st.booleans() | st.none(),
    },
)


@given(runs)
def test_options_are_made_again_from_their_plain_values(values: dict[str, Any]) -> None:
    run = from_values(values)
    plain = to_values(run)
    again = from_values(plain)
    assert (again, to_values(again)) == (run, plain)
    assert repr(again) == repr(run)
    assert columns(again) == columns(run)


@given(runs)
def test_sections_and_dotted_paths_give_the_same_options(values: dict[str, Any]) -> None:
    assert from_values(flat(values)) == from_values(values)


def test_options_hold_mappings_and_have_no_hash() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(made({}))


@pytest.mark.parametrize(
    ("policy", "option", "value", "meant"),
    [
        ("chunked:2048", "policy.budget", 512, "chunked:512"),
        ("chunked", "policy.budget", 512, "chunked:budget=512"),
        ("edf:layer,batch_tokens=9", "policy.batch_tokens", 5, "edf:layer,batch_tokens=5"),
    ],
)
def test_an_option_of_the_policy_replaces_what_was_given_by_position_or_by_name(
    policy: str, option: str, value: Any, meant: str
) -> None:
    assert str(from_values({"trace": "example", "policy": policy, option: value}).policy) == meant
