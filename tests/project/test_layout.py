"""The package: all of it is in the wheel, imports point one way, importing it is cheap, everything is documented."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.places import ROOT

FOLDERS = {
    "sim": "flowsim",
    "calibration": "flowsim.calibration",
    "policies": "flowsim.policies",
    "traces": "flowsim.traces",
}
HEAVY = ("torch", "pandas", "matplotlib", "scipy", "rich", "pyarrow")


def sources() -> dict[str, Path]:
    """Every module of the package, by its dotted name."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return found


SOURCES = sources()


@cache
def trees() -> dict[str, ast.Module]:
    """What each module says."""
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def statements(nodes: list[ast.stmt]) -> Iterator[ast.stmt]:
    """What runs when a module is imported: not what is in functions, nor what only type checkers read."""
    for node in nodes:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for block in ("body", "orelse", "finalbody"):
                yield from statements([n for n in getattr(node, block, []) if isinstance(n, ast.stmt)])


def imported(nodes: Iterator[ast.AST]) -> set[str]:
    """The modules that import statements among these nodes name."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            for alias in node.names:  # a module of a package, or a name in a module
                whole = f"{node.module}.{alias.name}"
                names.add(whole if whole in SOURCES else str(node.module))
    return names


@cache
def imports() -> dict[str, set[str]]:
    """The modules of the package that importing each module imports."""
    return {name: imported(statements(tree.body)) & SOURCES.keys() for name, tree in trees().items()}


def reached(name: str) -> set[str]:
    """All that importing a module imports of the package."""
    seen: set[str] = set()
    todo = [name]
    while todo:
        new = imports()[todo.pop()] - seen
        seen |= new
        todo.extend(new)
    return seen


def group(patterns: tuple[str, ...]) -> set[str]:
    return {name for name in SOURCES for pattern in patterns if fnmatch(name, f"flowsim.{pattern}")}


# What is shipped.


def wanted() -> set[str]:
    """What a wheel must hold: every module, and every file that is not Python beside them."""
    files = set()
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                files.add(f"{package.replace('.', '/')}/{path.relative_to(ROOT / folder)}")
    return files


def packages() -> set[str]:
    """Every package: a folder with modules."""
    return {name if path.stem == "__init__" else name.rpartition(".")[0] for name, path in SOURCES.items()}


def test_the_project_names_every_folder_of_the_package() -> None:
    """Without building: what setuptools is told is what is there."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert tool["package-dir"] == {package: folder for folder, package in FOLDERS.items()}
    assert sorted(tool["packages"]) == sorted(packages())
    matched = set()
    for folder, package in FOLDERS.items():
        for pattern in tool["package-data"].get(package, []):
            found = {path for path in (ROOT / folder).glob(pattern) if path.is_file()}
            matched |= {f"{package.replace('.', '/')}/{path.relative_to(ROOT / folder)}" for path in found}
    assert {name for name in wanted() if not name.endswith(".py")} <= matched


def test_the_wheel_holds_every_module_and_all_data(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", "77", reason="building a wheel needs setuptools")
    source = tmp_path / "source"  # building leaves files behind
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "import setuptools.build_meta as backend; backend.build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("flowsim-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        entry_points = archive.read(next(n for n in archive.namelist() if n.endswith("entry_points.txt"))).decode()
    assert held == wanted()
    assert "flowsim = flowsim.__main__:main" in entry_points


# How large it is.


def test_no_module_and_no_folder_is_too_large_to_take_in() -> None:
    assert {name for name, path in SOURCES.items() if len(path.read_text(encoding="utf-8").splitlines()) > 300} == set()
    modules = Counter(path.parent for path in SOURCES.values())
    assert {folder for folder, number in modules.items() if number > 20} == set()


# Where its tests are.

ELSEWHERE = {
    "calibration.costs.forward": "calibration/costs/test_cost_model.py",  # its times equal those of stepping
    "calibration.costs.provenance": "calibration/costs/test_fit.py",  # what is fitted is what it states
    "calibration.gpu.batch": "calibration/gpu/test_decoder.py",  # what a decoder computes,
    "calibration.gpu.layer": "calibration/gpu/test_decoder.py",  # and by which operators
    "calibration.gpu.graphs": "calibration/gpu_engine/test_replay.py",  # recorded for serving, on its decoder
    "calibration.gpu.launch_calls": "calibration/measure/test_passes.py",  # counted when passes are measured
    "calibration.published.report_figures": "calibration/published/test_importer.py",  # bytes of pictures on a page
    "calibration.gpu_engine.gpu_device": "calibration/gpu_engine/test_replay.py",  # nothing drives it but a replay
    "arena.decision_costs": "arena/test_compete.py",  # CPU times, different each time
    "arena.figure": "arena/test_compete.py",  # drawn of a whole arena,
    "arena.arena_text": "arena/test_compete.py",  # as is its screen
    "archive.rerun": "archive/test_reproduce.py",  # a process of its own, which reproducing starts
    "cli.archive": "archive/test_reproduce.py",  # typed as another machine would,
    "cli.studies": "studies/test_sweep.py",  # on the studies that are there
    "cli.validate": "validation/test_refused.py",  # and on the one operator table that is measured
    "__main__": "cli/test_local_modules.py",  # all it does is start the command line
    "core.ledger": "core/test_events.py",  # a fold over events
    "rendering.summary_text": "rendering/test_run_text.py",  # lines of the reports there
    "runs.declaration": "runs/test_options.py",  # reads what is declared there
}
"""The files that test modules without a test file of their own, and why."""
DECLARATIONS = {"core.predictor", "core.summary", "engine.device", "rendering.run_parts"}
"""Modules of types alone: protocols, and fields without methods."""


def mirror(name: str) -> Path:
    """Where the tests of a module belong."""
    *folders, module = name.split(".")[1:]
    return ROOT.joinpath("tests", *folders, f"test_{module}.py")


def test_every_module_has_a_test_file_or_is_tested_in_one_that_is_named() -> None:
    modules = {name for name, path in SOURCES.items() if path.stem != "__init__"}
    known = {f"flowsim.{name}" for name in ELSEWHERE.keys() | DECLARATIONS}
    assert {name for name in modules if not mirror(name).exists()} == known
    assert [place for place in ELSEWHERE.values() if not (ROOT / "tests" / place).exists()] == []


# Which way imports point.


def test_policies_and_costs_know_nothing_of_each_other() -> None:
    policies = group(("policies.*",))
    assert not any(reached(name) & group(("calibration.*",)) for name in policies)
    assert not reached("flowsim.calibration.costs.cost_model") & policies


def test_policies_import_no_more_than_what_a_policy_needs() -> None:
    """Not even inside functions."""
    allowed = {
        "errors",
        "core.operators",
        "core.passes",
        "core.pass_timeline",
        "core.order",
        "core.policy",
        "core.request",
        "policies.parts.admission",
        "policies.parts.batching",
        "policies.parts.composed",
        "policies.parts.orders",
        "policies.parts.server_work",
        "policies.catalogue",
    }
    for name in group(("policies.*",)):
        names = {n for n in imported(ast.walk(trees()[name])) if n.partition(".")[0] == "flowsim"}
        beside = {"flowsim.io.schema"} if name == "flowsim.policies.registry" else set()  # it is not a policy
        assert names - beside <= {f"flowsim.{n}" for n in allowed}, name


def test_no_module_imports_itself_by_a_detour() -> None:
    TopologicalSorter({name: imports()[name] for name in SOURCES if name != "flowsim"}).prepare()


def test_the_package_never_imports_its_folders_by_their_own_names() -> None:
    """That would make a second copy of every class."""
    for name, tree in trees().items():
        assert not imported(ast.walk(tree)) & FOLDERS.keys(), name


def test_no_two_classes_have_one_name() -> None:
    classes = [node.name for tree in trees().values() for node in tree.body if isinstance(node, ast.ClassDef)]
    public = Counter(name for name in classes if not name.startswith("_"))
    assert [name for name, times in public.items() if times > 1] == []


# What importing costs.


def heavy_after(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(*(n for n in {HEAVY} if n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_flowsim_is_cheap() -> None:
    assert heavy_after("import flowsim") == set()


def test_replaying_needs_no_heavy_library() -> None:
    assert heavy_after("import flowsim; flowsim.run('example', limit=20).summary") == set()


def test_no_module_needs_torch_to_be_imported() -> None:
    names = ", ".join(name for name in SOURCES if name != "flowsim.__main__")
    assert "torch" not in heavy_after(f"import {names}")


# Documentation.


def undocumented(node: ast.AST, name: str) -> Iterator[str]:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    if isinstance(node, kinds) and not ast.get_docstring(node):
        yield name
    for inner in getattr(node, "body", []) if isinstance(node, ast.Module | ast.ClassDef) else []:
        if isinstance(inner, ast.ClassDef | ast.FunctionDef) and not inner.name.startswith("_"):
            yield from undocumented(inner, f"{name}.{inner.name}")


def test_everything_public_says_what_it_is() -> None:
    missing = [bare for name, tree in trees().items() for bare in undocumented(tree, name)]
    assert missing == []


# What is installed.


def test_the_lock_file_names_a_version_of_every_dependency_that_is_allowed() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    locked = dict(line.split("==") for line in lines if not line.startswith("#"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for needed in map(Requirement, project["dependencies"]):
        assert needed.specifier.contains(locked[canonicalize_name(needed.name)]), needed
