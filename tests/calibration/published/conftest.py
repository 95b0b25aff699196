"""Public tables in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowsim.calibration.published.aiconfigurator import Source, folder_source
from support.calibration import public_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return public_folder(tmp_path / "public")


@pytest.fixture
def source(folder: Path) -> Source:
    return folder_source(folder)
