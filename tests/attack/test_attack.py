"""A short attack: valid inputs are taken, bad ones refused in one line, and no interruption leaves half a file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from click.testing import CliRunner

from attack.forked import MOST_MIB, forked
from attack.inputs import attacks
from attack.interruptions import interruptions
from attack.targets import COMMANDS, TARGETS, make_inputs
from flowsim.cli.main import main

SLOW = ("calibrate import", "validate", "models", "plot", "tradeoff", "capacity")
"""Commands that take seconds, or need a package that is not always there."""
READING = [*dict.fromkeys([command for target in TARGETS for command in target.commands] + list(COMMANDS))]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs") / "pristine"
    make_inputs(folder)
    return folder


def test_what_is_attacked_is_valid(pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a damaged input would be refused for another reason."""
    for path in pristine.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "done").unlink()
    shutil.copytree(pristine / "done", "done")
    refused = {}
    for command in READING:
        if command.startswith(SLOW):
            continue
        result = CliRunner().invoke(main, command.split())
        if result.exit_code:
            refused[command] = result.output
    assert refused == {}


@pytest.mark.parametrize("seed", range(4))
def test_damaged_inputs_are_refused_in_one_line(pristine: Path, tmp_path: Path, seed: int) -> None:
    tried = list(islice(attacks(pristine, tmp_path / "work", str(seed)), len(TARGETS) + 2))
    assert [(of.kind, of.command, of.fault) for of in tried if of.fault] == []
    assert sum(of.refused for of in tried) >= len(tried) // 2


def test_interruptions_leave_nothing_half_written(pristine: Path, tmp_path: Path) -> None:
    tried = list(islice(interruptions(pristine, tmp_path / "work", "0"), 4))
    assert {of.kind for of in tried} == {"kill", "disk full", "two at once", "standard output"}
    assert [(of.kind, of.command, of.fault) for of in tried if of.fault] == []


def test_what_takes_too_much_is_seen() -> None:
    assert forked(lambda: 1 + 1).value == 2
    assert isinstance(forked(lambda: _raised(lambda: bytearray(2 * MOST_MIB * 2**20))).value, MemoryError)
    assert forked(lambda: len(bytearray(MOST_MIB // 2 * 2**20))).mib == pytest.approx(MOST_MIB / 2, abs=100)


def _raised(act: Callable[[], object]) -> BaseException | None:
    try:
        act()
    except MemoryError as error:
        return error
    return None
