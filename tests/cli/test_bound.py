"""`flowsim bound`."""

from __future__ import annotations

import pytest

from support.cli import invoke

pytestmark = pytest.mark.usefixtures("folder")


def test_a_bound_is_three_lines_and_the_load_a_fourth() -> None:
    lines = invoke("bound", "example").stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["upper bound", "lower bound", "hopeless", "offered load"]
    assert "no scheduler attains more than 400 of 400 requests" in lines[0]
