"""`flowsim doctor`."""

from __future__ import annotations

import pytest

from flowsim.cli.main import main
from flowsim.runs.doctor import Finding


@pytest.mark.parametrize(
    ("finding", "status", "line"),
    [
        (Finding("libraries", "", "pip install 'numpy>=1.26'", needed=True), 1, "missing for flowsim: pip install"),
        (
            Finding("extra dask", "", "pip install 'flowsim[dask]'"),
            0,
            "missing extra dask: pip install 'flowsim[dask]'",
        ),
        (Finding("libraries", "numpy 2", "", needed=True), 0, "libraries  numpy 2"),
    ],
)
def test_the_command_fails_only_if_flowsim_cannot_work(
    finding: Finding, status: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("flowsim.runs.doctor.doctor", lambda: [finding])
    with pytest.raises(SystemExit) as exit_:
        main(["doctor"])
    assert exit_.value.code == status
    assert line in capsys.readouterr().out
