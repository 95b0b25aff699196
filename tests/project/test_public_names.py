"""The face of the package: every public name is there, nothing is imported before its use, commands have twins."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version

import pytest

import flowsim
from flowsim.cli.main import main
from flowsim.runs.options import by_keyword
from support.places import ROOT

TREE = ast.parse((ROOT / "sim" / "__init__.py").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", flowsim.__all__)
def test_a_public_name_is_there(name: str) -> None:
    assert getattr(flowsim, name) is not None
    assert name in dir(flowsim)


def test_type_checkers_see_the_names_that_are_imported_on_use() -> None:
    seen = {
        alias.name: (node.module or "").removeprefix("flowsim.")
        for block in TREE.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module != "typing"
        for alias in node.names
    }
    assert seen == flowsim.HOMES
    assert {*seen, "__version__"} == set(flowsim.__all__)


def test_the_version_is_that_of_the_distribution() -> None:
    assert flowsim.__version__ == version("flowsim")


def test_every_command_has_a_twin_in_python() -> None:
    twins = {name: f"describe_{name}" for name in ("metrics", "models", "policies")}
    twins |= {"traces": "load_trace", "show": "save_page"}
    twins |= {"arena": "compete"}  # flowsim.arena is the package
    for command in main.commands:
        assert callable(getattr(flowsim, twins.get(command, command))), command


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'flowsim' has no attribute 'capcity'; did you mean 'capacity'"):
        _ = flowsim.capcity  # type: ignore[attr-defined]


def test_importing_flowsim_imports_no_library() -> None:
    script = "import sys, flowsim; print(*(n for n in ('numpy', 'msgspec', 'simpy', 'yaml') if n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_option_of_a_run_is_in_the_signature_and_the_documentation_of_run() -> None:
    parameters = inspect.signature(flowsim.run).parameters
    assert {*by_keyword(), "server", "events", "progress"} == set(parameters)
    assert parameters["slots"].default == 128
    for keyword in by_keyword():
        assert f"        {keyword}: " in (flowsim.run.__doc__ or ""), keyword


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: flowsim.read_options(5), "path must be text or a Path, got 5"),
        (lambda: flowsim.PolicySpec.parse(None), "policy must be text, got nothing"),
        (lambda: flowsim.save_page(5, "x.html"), "result must be a result, or the folder of one, got 5"),
        (lambda: flowsim.save_page("x", 5), "path must be text or a Path, got 5"),
        (
            lambda: flowsim.save_timeline([1], "x"),
            "result must be a run or a comparison, or the folder of one, got [1]",
        ),
        (lambda: flowsim.save_timeline("x", None), "path must be text or a Path, got nothing"),
    ],
)
def test_arguments_of_other_types_are_refused_in_one_line(call: Callable[[], object], said: str) -> None:
    with pytest.raises(flowsim.InputError) as refused:
        call()
    assert str(refused.value) == said
