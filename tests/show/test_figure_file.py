"""Figures in files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("backend", ["module://not_installed.backend", "nonsense"])
def test_a_figure_is_saved_whatever_the_backend_for_windows(tmp_path: Path, backend: str) -> None:
    """Case W_uniform_1rps with MPLBACKEND."""
    words = ["-m", "flowsim", "compare", "example", "--limit", "20", "--policy", "fcfs", "--out", "out", "-q"]
    done = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, env={**os.environ, "MPLBACKEND": backend}, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "out" / "comparison.png").stat().st_size > 10_000
