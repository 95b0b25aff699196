"""The modules of the user's own that a module imports, found in their sources: what decides how a policy behaves."""

from __future__ import annotations

import ast
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

STANDARD = Path(sysconfig.get_paths()["stdlib"])


def own_modules(name: str) -> dict[str, Path]:
    """The files by module: of this module, and of all it imports, at any depth, that are not installed.

    Modules of Python, of installed distributions and of flowsim are left out. Nothing is imported; a module whose name
    is only computed while the program runs is not found.
    """
    found: dict[str, Path] = {}
    todo = [name]
    while todo:
        module = todo.pop()
        spec = None if module in found or module.partition(".")[0] == "flowsim" else _spec(module)
        if spec is None or not spec.has_location or spec.origin is None:
            continue
        if module == name or not _installed(module, Path(spec.origin)):
            found[module] = Path(spec.origin)
            todo += _imported(spec, found[module])
    return found


def is_own(name: str) -> bool:
    """Whether a module is the user's own, in a file: neither Python's nor installed nor flowsim's."""
    spec = _spec(name)
    if spec is None or not spec.has_location or spec.origin is None or name.partition(".")[0] == "flowsim":
        return False
    return not _installed(name, Path(spec.origin))


def _spec(name: str) -> ModuleSpec | None:
    """Where a module is, or would be found; None if it is nowhere."""
    if name in sys.modules:
        return sys.modules[name].__spec__
    parent = name.rpartition(".")[0]
    if not parent:
        return importlib.util.find_spec(name)
    package = _spec(parent)
    if package is None or package.submodule_search_locations is None:
        return None
    try:
        return PathFinder.find_spec(name, list(package.submodule_search_locations))
    except KeyError:  # a folder without __init__.py, inside another that was not imported
        return None


def _installed(name: str, file: Path) -> bool:
    """Whether a module is Python's, or lies in a folder of installed distributions."""
    depth = name.count(".") + (file.name == "__init__.py")
    folder = file.parents[depth]
    return folder in (STANDARD, STANDARD / "lib-dynload") or any(folder.glob("*.dist-info"))


def _imported(spec: ModuleSpec, file: Path) -> Iterator[str]:
    """The names that a source file may import, and the packages that they are in."""
    try:
        tree = ast.parse(file.read_bytes()) if file.suffix == ".py" else ast.Module([], [])
    except SyntaxError:  # whoever imports it will say so
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level <= len((spec.parent or "").split(".")):
            module = "." * node.level + (node.module or "")
            origin = importlib.util.resolve_name(module, spec.parent) if node.level else module
            names = [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            yield name
            yield from (name[:at] for at, letter in enumerate(name) if letter == ".")
