"""The workload of a run: what is replayed of a trace."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated

import msgspec
import numpy as np

from flowsim.core.prefix_cache import Retention
from flowsim.errors import InputError
from flowsim.io.counts import number_of
from flowsim.io.schema import Checked, Name, Positive, PositiveCount, option
from flowsim.traces.combine import parse_mix, reweighted, with_rates
from flowsim.traces.trace import Trace

OF_ARRIVALS = {"window": None, "rate_scale": 1.0, "rate_rps": None}
"""The options that mean nothing in a closed loop, with their defaults."""
PERIOD = "FROM:TO in seconds, with 0 <= FROM < TO"


class WorkloadOptions(Checked, frozen=True):
    """What is replayed of a trace."""

    format: Annotated[Name | None, option("Format of the trace.", "NAME", default="found by content")] = None
    spread: Annotated[bool, option("Spread coarse time stamps, such as whole seconds, at random.")] = True
    drop_failed: Annotated[bool, option("Drop requests that failed on the real server (those without tokens).")] = False
    window: Annotated[
        Sequence[float | None] | Name | None, option("Only requests that arrive from FROM to TO, seconds.", "FROM:TO")
    ] = None
    limit: Annotated[PositiveCount | None, option("Only the first N requests.", "N")] = None
    rate_scale: Annotated[Positive, option("Multiply the request rate.")] = 1.0
    rate_rps: Annotated[
        Positive | None, option("Request rate, requests per second, in place of rate_scale.", "RATE", flag=None)
    ] = None
    concurrency: Annotated[
        PositiveCount | None,
        option("Closed loop: N requests are outstanding at any time, whatever the arrival times of the trace.", "N"),
    ] = None
    mix: Annotated[
        Mapping[str, float] | Name | None,
        option("Other shares of the classes: text=.5,search=.5 (the rest as in the trace).", "SHARES"),
    ] = None
    rates: Annotated[
        Mapping[str, Positive] | None,
        option("Requests per second of each class.", "RATES", default="those of the SLO file, if any", flag=None),
    ] = None
    prefix_cache: Annotated[
        Name,
        option(
            "What each instance keeps of the prefix blocks it has computed: none, ideal (all), or lru:BLOCKS (the last "
            "used, in its free KV memory).",
            "CACHE",
        ),
    ] = "none"
    new_tokens: Annotated[bool, option("Later turns of text keep only their new tokens (as in the paper).")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        msgspec.structs.force_setattr(self, "window", _period(self.window))
        if isinstance(self.mix, str):
            parse_mix(self.mix)
        Retention.parse(self.prefix_cache)
        if self.rate_rps is not None and self.rate_scale != 1:
            raise InputError("rate_rps", "is given together with rate_scale", expected="one of them")
        for name, default in OF_ARRIVALS.items() if self.concurrency else ():
            if getattr(self, name) != default:
                problem = "is given together with concurrency, which leaves arrival times out of account"
                raise InputError(name, problem, expected="one of them")
        if self.mix and self.rates:
            raise InputError("mix", "is given together with rates, which are a mix too", expected="one of them")

    @property
    def shares_of_classes(self) -> Mapping[str, float]:
        """The shares that `mix` asks for, by class; empty if there is none."""
        return parse_mix(self.mix) if isinstance(self.mix, str) else self.mix or {}

    @property
    def window_text(self) -> str | None:
        """The window as FROM:TO, with all digits; None if there is none."""
        return None if self.period_s is None else window_text(self.period_s)

    @property
    def period_s(self) -> tuple[float, float] | None:
        """The window, seconds: its start and its end, which may be infinite; None if there is none."""
        if self.window is None or isinstance(self.window, str):
            return None
        start_s, end_s = self.window
        return start_s or 0.0, math.inf if end_s is None else end_s


@contextmanager
def blamed(option: str) -> Iterator[None]:
    """Errors inside are about this option of the run, unless they name another."""
    try:
        yield
    except InputError as error:
        error.where, error.option = error.where or option, error.option or option
        raise


def replayed(
    trace: Trace, workload: WorkloadOptions, seed: int, until_s: float | None = None, *, reweigh: bool = True
) -> Trace:
    """What is replayed of a trace: of the window, the first requests, in the mix, at the rate, until the end.

    Without `reweigh`, rates of classes only decide the rate, for classes that are drawn later. Requests of a closed
    loop all come at second 0; the simulation decides when they are sent.

    Raises:
        InputError: a mix that the trace cannot have, or a rate of a trace whose requests arrive at one instant.
    """
    with blamed("workload.window"):
        trace = trace if workload.period_s is None else trace.window(*workload.period_s)
    with blamed("workload.limit"):
        trace = trace if workload.limit is None else trace.head(workload.limit)
    with blamed("workload.mix"):
        mix = workload.shares_of_classes
        trace = reweighted(trace, mix, seed) if mix else trace
    with blamed("workload.rates"):
        trace = with_rates(trace, workload.rates, seed, reweigh=reweigh) if workload.rates else trace
    with blamed("workload.rate_scale" if workload.rate_rps is None else "workload.rate_rps"):
        trace = _at_rate(trace, workload)
    with blamed("until_s"):
        trace = trace if until_s is None or trace.span_s < until_s else trace.window(0.0, until_s)
    if workload.concurrency:
        outstanding = number_of(min(workload.concurrency, len(trace)), "request")
        trace = trace.derived(
            f"closed loop: {outstanding} outstanding, arrival times left out of account",
            arrival_s=np.zeros(len(trace)),
        )
    return trace


def _at_rate(trace: Trace, workload: WorkloadOptions) -> Trace:
    if workload.rate_rps is not None and not trace.span_s:
        raise InputError(trace.where, "all requests arrive at one instant", expected="a trace that spans some time")
    factor = workload.rate_scale if workload.rate_rps is None else workload.rate_rps / trace.rate_rps
    return trace if factor == 1 else trace.scaled(factor)


def window_text(window: Sequence[float | None]) -> str:
    """A window as FROM:TO, with all digits."""
    return ":".join("" if bound in (None, math.inf) else digits(bound) for bound in window)


def _period(value: Sequence[float | None] | str | None) -> tuple[float, float | None] | None:
    """A window of "FROM:TO" or a pair; a bound left out, or infinite, is the trace's own."""
    if value is None:
        return None
    bounds = _bounds(value) if isinstance(value, str) else value
    start_s, end_s = (bounds[0] or 0.0, bounds[1]) if len(bounds) == 2 else (math.nan, math.nan)
    if not 0 <= start_s < (math.inf if end_s is None else end_s):
        raise InputError("window", found=value, expected=PERIOD)
    return start_s, None if end_s == math.inf else end_s


def _bounds(text: str) -> Sequence[float | None]:
    start, colon, end = text.partition(":")
    try:
        return (float(start or 0), float(end) if end else None) if colon else ()
    except ValueError:
        return ()


def digits(value: float) -> str:
    """A number as text, with all digits that it has."""
    return repr(float(value)).removesuffix(".0")
