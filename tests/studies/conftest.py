"""A folder of results that tests compare theirs with."""

from __future__ import annotations

from pathlib import Path

import pytest

import flowsim
from support.studies import STUDY


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one worker."""
    folder = tmp_path_factory.mktemp("whole")
    assert flowsim.sweep(STUDY, folder, workers=1).new == 18
    return folder
