"""What `flowsim run` refuses, in one clear line: traces, options, configs, policies of one's own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowsim.runs.pins import versions
from flowsim.traces.columns import CLASS, LENGTH, SECONDS
from support.cli import ROWS, invoke, refused, tree, write

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "bad.jsonl: is empty; expected one request per line"),
        ("{oops\n", "bad.jsonl: line 2: is not JSON (Expecting property name enclosed in double quotes): '{oops'"),
        ('{"arrival_s": 1}\n', "bad.jsonl: line 2: has no field 'input_length' among 'arrival_s'"),
        (
            '{"arrival_s": 1, "input_length": -5}\n',
            f"bad.jsonl: line 2: input_length must be {LENGTH}, got -5",
        ),
        (
            '{"arrival_s": 1, "input_length": 0}\n',
            f"bad.jsonl: line 2: input_length must be {LENGTH} (0 is that of a request which failed",
        ),
        (
            '{"arrival_s": 1, "input_length": 1.5}\n',
            f"line 2: input_length must be {LENGTH}, got 1.5",
        ),
        (
            '{"arrival_s": 1, "input_length": "9"}\n',
            f"line 2: input_length must be {LENGTH}, got '9'",
        ),
        (
            '{"arrival_s": 1, "input_length": NaN}\n',
            f"line 2: input_length must be {LENGTH}, got nan",
        ),
        (
            '{"arrival_s": NaN, "input_length": 5}\n',
            f"line 2: arrival_s must be {SECONDS}, got nan",
        ),
        (
            '{"arrival_s": -1, "input_length": 5}\n',
            f"line 2: arrival_s must be {SECONDS}, got -1",
        ),
        (
            '{"arrival_s": 1, "input_length": 5, "class": 7}\n',
            f"line 2: class must be {CLASS}, got 7",
        ),
        ("[1]\n", "line 2: is not a JSON object: [1]; expected one JSON object per line"),
    ],
)
def test_a_wrong_trace_is_refused(content: str, message: str) -> None:
    write("bad.jsonl", *([ROWS[0]] if content else []), content)
    assert message in refused("run", "bad.jsonl", "--out", "results")
    assert message in refused("compare", "bad.jsonl", "--out", "results")


def test_what_is_no_trace_is_refused() -> None:
    assert refused("run", "absent.jsonl").startswith(
        "absent.jsonl: no such file; expected a trace file or a built-in trace"
    )
    Path("some").mkdir()
    assert refused("run", "some") == "some: is a folder; expected a trace file"
    Path("raw.bin").write_bytes(b"\xff\xfe\x00\x01")
    assert refused("run", "raw.bin").startswith("raw.bin: is text in UTF-16")
    write("csv.csv", "a,b\n1,2\n")
    assert refused("run", "csv.csv").startswith("csv.csv: line 1: has csv fields that fit no known format")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_folder_that_may_not_be_written() -> None:
    Path("closed").mkdir(mode=0o555)
    assert "cannot be written" in refused("run", "t.jsonl", "--out", "closed/results")


@pytest.mark.parametrize("name", ["n" * 256, f"new/{'n' * 256}"])
def test_a_name_that_is_too_long_is_refused(name: str) -> None:
    assert refused("run", "t.jsonl", "--out", name) == f"{name}: cannot be written (File name too long)"


def test_a_circle_of_links_is_refused() -> None:
    Path("loop.jsonl").symlink_to("loop.jsonl")
    assert refused("run", "loop.jsonl") == "loop.jsonl: cannot be read (Too many levels of symbolic links)"


def test_an_output_that_fails_late_is_refused_all_the_same() -> None:
    Path("results/summary.json").mkdir(parents=True)
    before = tree()
    result = invoke("run", "t.jsonl", "--quiet", "--out", "results")
    assert result.exit_code == 2
    assert result.stderr == "flowsim: error: results/summary.json: is in the way of a file of that name\n"
    assert tree() == before


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"polcy": "fcfs"}, "line 1: unknown option 'polcy'; did you mean 'policy'?"),
        ({"server": {"instancs": 2}}, "line 2: unknown option 'server.instancs'; did you mean 'server.instances'?"),
        (
            {"server": {"instances": "2x"}},
            "line 2: server.instances must be a whole number >= 1 and <= 100000, got '2x'",
        ),
        ({"workload": {"limit": "few"}}, "line 3: workload.limit must be a whole number >= 1, got 'few'"),
        (
            {"workload": {"window": [1]}},
            "line 3: workload.window must be FROM:TO in seconds, with 0 <= FROM < TO, got [1.0]",
        ),
    ],
)
def test_a_wrong_config_is_refused(values: dict[str, Any], message: str) -> None:
    Path("c.yaml").write_text(yaml.safe_dump({"trace": "t.jsonl"} | values))
    assert refused("run", "c.yaml", "--out", "results").startswith(f"c.yaml: {message}")


FIRST = "at 0.000075 s, after the arrival of request 0 (1 waiting, 0 started, 0 paused, nothing runs)"


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("absent:Fine", "policy 'absent:Fine': cannot import 'absent': No module named 'absent'"),
        ("syntax:Fine", "policy 'syntax:Fine': cannot import 'syntax': invalid syntax (syntax.py, line 1)"),
        ("zero:Fine", "cannot import 'zero': raised ZeroDivisionError: division by zero (zero.py, line 1)"),
        ("own_policies:Fien", "unknown policy class 'Fien' in module own_policies; did you mean 'Fine'?"),
        ("own_policies:Fine:speed=2", "'speed'"),
        ("own_policies:Blind", "policy Blind: has no method choose(view)"),
        ("own_policies:Vague", "unknown cut 'often' (known: block, chunk, layer, none, operator)"),
        (
            "own_policies:Stillborn",
            "policy 'own_policies:Stillborn': raised RuntimeError: no speed (own_policies.py, line 2",
        ),
        ("own_policies:Raises", f"policy Raises {FIRST}: raised KeyError: 'x' (own_policies.py, line 1"),
        (
            "own_policies:BadOrder",
            f"policy BadOrder {FIRST}: raised AttributeError: 'str' object has no attribute",
        ),
        (
            "own_policies:Text",
            "chose 'the first'; expected a Pass, a paused or the running Execution, a Decision, or None",
        ),
        ("own_policies:Bare", "chose Request(0, arrived 0.000 s, due 0.250 s, 0 of 100 tokens computed); expected"),
        ("own_policies:Unpaired", "expected pairs of a request and its tokens"),
        ("own_policies:Empty", f"policy Empty {FIRST}: chose a pass without requests"),
        ("own_policies:Greedy", f"policy Greedy {FIRST}: chose 1000000 tokens of Request(0,"),
        ("own_policies:Half", f"policy Half {FIRST}: chose 0.5 tokens of Request(0,"),
    ],
)
def test_a_broken_policy_of_ones_own_is_refused(policy: str, message: str) -> None:
    Path("syntax.py").write_text("x = = 1\n")
    Path("zero.py").write_text("1 / 0\n")
    assert message in refused("run", "t.jsonl", "--policy", policy, "--out", "results")


def test_a_study_given_to_run_is_named() -> None:
    write("s.yaml", "run: {trace: example}\naxes: {seed: [0, 1]}\n")
    assert (
        refused("run", "s.yaml") == "s.yaml: is a study; expected the options of one run (flowsim sweep runs a study)"
    )


@pytest.mark.parametrize("policy", ["os:system:touch x", "own_policies:write:x", "own_policies:pathlib:x"])
def test_data_call_nothing_that_is_no_policy(policy: str) -> None:
    own = Path("own_policies.py").read_text() + "def write(name): pathlib.Path(name).touch()\nwrite.choose = write\n"
    Path("own_policies.py").write_text(own)
    sys.modules.pop("own_policies", None)
    write("config.yaml", yaml.safe_dump({"trace": "t.jsonl", "policy": policy, "pinned": versions()}))
    write("study.yaml", yaml.safe_dump({"run": {"trace": "t.jsonl"}, "axes": {"policy": [policy]}}))
    for command in (["run", "config.yaml"], ["sweep", "study.yaml", "--out", "swept"]):
        assert "is a module of Python" in (said := refused(*command)) or "unknown policy class" in said
    assert not Path("x").exists()
