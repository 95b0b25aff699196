"""The story of one request, by hand. A token takes a second."""

from __future__ import annotations

from flowsim.results.story import TOLD
from flowsim.results.waits import PARTS
from support.explained import explained


def test_a_notebook_shows_a_story() -> None:
    """Passes: request 0 until 10, 1 until 13; 1 is due at 7."""
    html = explained([(0.0, 10, 100.0), (2.0, 3, 5.0)], "edf:cut=none").story(1)._repr_html_()
    assert "<b>request 1</b>" in html
    assert "<tr><td>2.000 s</td><td>8 s</td><td>blocked: 0</td></tr>" in html
    assert "<tr><td>13.000 s</td><td></td><td>first token, 6 s too late</td></tr>" in html
    assert "reason: blocked by a running pass<br>" in html


def test_every_part_that_a_story_names_has_a_text() -> None:
    assert set(TOLD) == set(PARTS) - {"stack", "batched", "slower", "host"}
