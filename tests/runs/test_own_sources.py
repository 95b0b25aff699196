"""The source of a policy that no module holds: a script's or a notebook's, with all that it uses there."""

from __future__ import annotations

import functools
import linecache
import sys
from types import ModuleType
from typing import Any

import pytest

from flowsim.errors import InputError
from flowsim.runs.own_sources import main_sources

CELL = """
import functools, json
import numpy as np
from dataclasses import dataclass
from flowsim import Moving, Pass

SIGN = 1
TABLE = {"text": [1.0, 2.0]}
WEIGHTS = np.arange(3)
KEY = Moving(key=lambda request, now: SIGN * request.arrival_s)
unused = 5

def helper(view):
    return [other(view) for _ in TABLE]

def other(view):
    return WEIGHTS

class Base:
    def first(self, view):
        return view.first(KEY)

@dataclass(frozen=True)
class Mine(Base):
    cut: str = "none"
    wake: str = "events"

    @property
    def half(self):
        return functools.partial(helper, 2)

    def choose(self, view):
        return helper(view) or self.first(view)
"""


def run_cell(text: str, monkeypatch: pytest.MonkeyPatch, *, kept: bool = True) -> Any:
    """The class Mine of a cell, run as a notebook runs it: in `__main__`, its lines kept for inspection."""
    place = f"<cell {hash(text)}>"
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    if kept:
        linecache.cache[place] = (len(text), None, text.splitlines(keepends=True), place)
    exec(compile(text, place, "exec"), vars(main))
    return main.Mine


def sources(text: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    return main_sources("__main__:Mine", run_cell(text, monkeypatch))


def test_the_same_cell_run_again_is_the_same_source(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sources(CELL, monkeypatch) == sources(CELL, monkeypatch)
    assert sources("\n\n" + CELL.replace("unused = 5", "unused = 6"), monkeypatch) == sources(CELL, monkeypatch)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SIGN = 1", "SIGN = -1"),
        ("[1.0, 2.0]", "[1.0, 2.5]"),
        ("np.arange(3)", "np.arange(3) + 1"),
        ("SIGN * request", "-SIGN * request"),
        ("return WEIGHTS", "return WEIGHTS + 1"),
        ("view.first(KEY)", "view.first( KEY )"),
        ('"none"', '"layer"'),
        ("frozen=True", "frozen=True, order=True"),
        ("partial(helper, 2)", "partial(helper, 3)"),
        ("class Mine(Base)", "class Mine(Base, dict)"),
    ],
)
def test_whatever_the_class_uses_is_part_of_its_source(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sources(CELL.replace(old, new), monkeypatch) != sources(CELL, monkeypatch)


def test_a_console_that_keeps_no_source_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = run_cell(CELL, monkeypatch, kept=False)
    linecache.cache.pop(f"<cell {hash(CELL)}>", None)
    with pytest.raises(InputError, match=r"^policy '__main__:Mine': has a source that cannot be read; expected"):
        main_sources("__main__:Mine", kind)


def test_functions_are_told_apart_by_what_they_enclose(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
def made(sign):
    def choose(self, view, more=1):
        return sign
    return choose

class Mine:
    choose = made(1)
"""
    one, other = (sources(text.replace("made(1)", f"made({sign})"), monkeypatch) for sign in (1, 2))
    assert one != other and functools.reduce(lambda n, key: n + (one[key] != other[key]), one, 0) == 1
