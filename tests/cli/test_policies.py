"""`flowsim policies`."""

from __future__ import annotations

import pytest

from flowsim.policies.registry import NAMES
from support.cli import done

pytestmark = pytest.mark.usefixtures("folder")


def test_every_policy_is_listed_with_its_options() -> None:
    text = done("policies")
    assert set(NAMES) <= {line.split()[0] for line in text.splitlines() if line.strip()}
    assert "batch_tokens=2048" in text
