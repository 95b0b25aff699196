"""The built-in traces, and the one way to load a trace from what a user typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from flowsim.errors import InputError, unknown
from flowsim.io.folders import exists, path_of
from flowsim.traces.formats import find_format
from flowsim.traces.reading.reader import read_trace
from flowsim.traces.synthetic import synthesize
from flowsim.traces.trace import Trace


def example_trace() -> Trace:
    """The built-in example: 400 requests of four classes at about 4 requests per second, always the same."""
    made = synthesize(400, rate_rps=4.0, seed=5)
    return replace(made, name="example", source="example", notices=(*made.notices, made.source))


BUILT_IN: Mapping[str, Callable[[], Trace]] = {"example": example_trace}
"""The built-in traces by name."""


def load_trace(
    spec: str | Path, format: str | None = None, *, spread: bool = True, seed: int = 0, drop_failed: bool = False
) -> Trace:
    """The trace in the file `spec` or, if there is no such file, the built-in trace of that name.

    The other arguments are those of `read_trace`; a built-in trace does not depend on them, and has no format.

    Raises:
        InputError: neither a file nor a built-in trace, a file that `read_trace` rejects, or a format where there is no
            file, or that is unknown.
    """
    if exists(path_of(spec, "trace")):
        return read_trace(spec, format, spread=spread, seed=seed, drop_failed=drop_failed)
    if str(spec) in BUILT_IN:
        check_no_format(format, str(spec))
        return BUILT_IN[str(spec)]()
    near = unknown("trace", str(spec), BUILT_IN).near
    if near:
        raise InputError(str(spec), f"no such file or built-in trace; did you mean {near!r}?")
    raise InputError(str(spec), "no such file", expected=f"a trace file or a built-in trace ({', '.join(BUILT_IN)})")


def check_no_format(format: str | None, name: str) -> None:
    """Refuse a format for a trace that is not read from a file."""
    if format is not None:
        find_format(format)  # a wrong name is said first
        raise InputError("format", f"is given for {name!r}, which is not read from a file", expected="no format")
