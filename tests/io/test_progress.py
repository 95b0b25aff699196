"""Progress where there is no terminal: a line now and then."""

from __future__ import annotations

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
