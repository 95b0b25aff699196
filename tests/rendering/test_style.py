"""Colours and axes."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.figure import Figure

from flowsim.rendering.style import new_axes


def test_in_python_a_backend_that_cannot_be_loaded_is_done_without() -> None:
    with mpl.rc_context({"backend": "module://not_installed.backend"}):
        assert isinstance(new_axes((2, 2)).figure, Figure)
