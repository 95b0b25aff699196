"""The commands `flowsim traces ...` as functions of the same names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flowsim.errors import InputError
from flowsim.traces import statistics
from flowsim.traces.catalogue import BUILT_IN, load_trace
from flowsim.traces.combine import merged, reweighted
from flowsim.traces.formats import FORMATS, find_format
from flowsim.traces.published import PUBLISHED, pull
from flowsim.traces.reading.server_logs import LOGS
from flowsim.traces.servegen import synthesize_clients
from flowsim.traces.synthetic import presets, synthesize
from flowsim.traces.trace import Trace
from flowsim.traces.writers import write_trace

__all__ = ["convert", "info", "list", "merge", "pull", "sample", "scale", "slice", "synth"]


def info(trace: Trace | str | Path, against: Trace | str | Path | None = None) -> Mapping[str, Any]:
    """What a trace looks like (see `statistics.info`); with `against`, also its `trace_distances` from that trace."""
    mine = _loaded(trace)
    facts = statistics.info(mine)
    return facts if against is None else facts | {"distances": statistics.trace_distances(mine, _loaded(against))}


def convert(trace: Trace | str | Path, path: str | Path, format: str = "flowsim") -> tuple[str, ...]:
    """Write a trace in another format (see `write_trace`); returns what that format cannot hold.

    Coarse time stamps of a file are kept only in a format whose reader spreads them (see `read_trace`); for any
    other they are spread (seed 0), so that the new file replays as the old one does.
    """
    made = trace if isinstance(trace, Trace) else load_trace(trace, spread=not find_format(format).coarse)
    return write_trace(made, path, format)


def slice(trace: Trace | str | Path, start_s: float = 0.0, end_s: float = float("inf")) -> Trace:
    """The requests that arrive in [start_s, end_s); see `Trace.window`."""
    return _loaded(trace).window(start_s, end_s)


def scale(trace: Trace | str | Path, factor: float) -> Trace:
    """The same requests at `factor` times the rate; see `Trace.scaled`."""
    return _loaded(trace).scaled(factor)


def merge(traces: Sequence[Trace | str | Path], by_date: bool | None = None) -> Trace:
    """The requests of all these traces, each at its own arrival time; see `combine.merged`."""
    return merged([_loaded(trace) for trace in traces], by_date=by_date)


def sample(
    trace: Trace | str | Path, n: int | None = None, mix: Mapping[str, float] | None = None, seed: int = 0
) -> Trace:
    """`n` requests drawn at random (`Trace.sample`), then with another mix of classes (`reweighted`)."""
    drawn = _loaded(trace) if n is None else _loaded(trace).sample(n, seed)
    return drawn if mix is None else reweighted(drawn, mix, seed)


def synth(
    source: str | Path,
    requests: int | None = None,
    *,
    rate_rps: float | None = None,
    arrivals: str | None = None,
    profile: str | None = None,
    duration_s: float | None = None,
    seed: int = 0,
) -> Trace:
    """A synthetic trace from a preset (see `synthesize`) or from the ServeGen clients in a file.

    A preset makes 1000 `requests` with a constant profile by default. Clients have their own rates and arrival
    processes, scaled together to `rate_rps` if that is given, and last `duration_s`, 600 s by default.

    Raises:
        InputError: an argument that does not apply to the source, or whatever `synthesize` and `synthesize_clients`
            reject.
    """
    if Path(source).is_file():
        _reject("ServeGen clients", requests=requests, arrivals=arrivals, profile=profile)
        made = synthesize_clients(source, 600.0 if duration_s is None else duration_s, seed)
        return made if rate_rps is None else made.scaled(rate_rps / made.rate_rps)
    _reject("presets", duration_s=duration_s)
    n, how = 1000 if requests is None else requests, "constant" if profile is None else profile
    return synthesize(n, rate_rps, seed, str(source), arrivals=arrivals, profile=how)


def _reject(kind: str, **arguments: Any) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise InputError(name, f"does not apply to {kind}")


def list() -> Sequence[tuple[str, str, str]]:
    """What is known by name: rows of (kind, name, description)."""
    rows = [("built in", name, "400 requests, always the same") for name in BUILT_IN]
    rows += [
        ("preset", name, f"{entry.source}; {entry.detail} quantiles per length") for name, entry in presets().items()
    ]
    rows += [("to pull", name, f"{entry.licence}; {entry.citation}") for name, entry in PUBLISHED.items()]
    rows += [("log", name, entry.layout) for name, entry in LOGS.items()]
    fields = {name: f"{kind.layout}: {', '.join(kind.signature)}" for name, kind in FORMATS.items()}
    return [*rows, *(("format", name, text) for name, text in fields.items())]


def _loaded(trace: Trace | str | Path) -> Trace:
    return trace if isinstance(trace, Trace) else load_trace(trace)
