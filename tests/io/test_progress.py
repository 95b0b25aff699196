"""Progress: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time

import pytest

from flowsim.io import progress


def test_nobody_sees_a_quiet_bar() -> None:
    with progress.bar("replaying", quiet=True) as advance:
        assert advance is None


def test_lines_are_printed_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter([0.0, 1.0, 31.0, 31.0, 32.0, 62.0, 62.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.bar("replaying") as advance:
        assert advance is not None
        for done in (1, 2, 3):
            advance(done, 4)
        advance(4, 4, "the last")
    assert capsys.readouterr().err == "replaying: 2 of 4\nreplaying: 4 of 4, the last\n"


def test_progress_is_a_bar_on_a_terminal_and_else_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    now_s = iter((0.0, 29.0, 31.0, 31.0, 40.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(now_s))
    with progress.bar("measuring") as advance:
        assert advance is not None
        advance(1, 9)
        advance(2, 9, "layer 64@0")
        advance(3, 9)
    assert capfd.readouterr().err == "measuring: 2 of 9, layer 64@0\n"
    monkeypatch.undo()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.bar("replaying", quiet=True) as advance:
        assert advance is None
    with progress.bar("replaying") as advance:
        assert advance is not None
        advance(500, 1000)
        advance(1000, 1000, "nearly there")
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("terminal", [False, True])
def test_a_terminal_obeys_nothing_in_what_is_being_done(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with progress.bar("sweeping") as advance:
        assert advance is not None
        advance(1, 2, "[/] \x1b[31mred")
    assert "\x1b[31mred" not in capsys.readouterr().err
