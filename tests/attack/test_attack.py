"""A short attack: valid inputs are taken, damaged ones refused in one line, and kills leave nothing half written."""

from __future__ import annotations

import shutil
from itertools import islice
from pathlib import Path

import pytest
from click.testing import CliRunner

from attack.inputs import attacks
from attack.kills import kills
from attack.targets import COMMANDS, TARGETS, make_inputs
from flowsim.cli.main import main

SLOW = ("calibrate import", "validate", "models", "plot", "tradeoff", "capacity")
"""Commands that take seconds, or need a package that is not always there."""
READING = [*dict.fromkeys([command for target in TARGETS for command in target.commands] + list(COMMANDS))]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pristine")
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
    tried = list(islice(attacks(pristine, tmp_path / "work", seed), len(TARGETS) + 1))
    assert [(of.kind, of.command, of.fault) for of in tried if of.fault] == []
    assert sum(of.refused for of in tried) >= len(tried) // 2


def test_a_kill_leaves_nothing_half_written(pristine: Path, tmp_path: Path) -> None:
    tried = list(islice(kills(pristine, tmp_path / "work", 0), 2))
    assert [(of.command, of.after_s, of.fault) for of in tried if of.fault] == []
