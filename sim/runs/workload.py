"""The workload of a run: what is replayed of a trace, and with which classes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated

import msgspec
import numpy as np

from flowsim.core.prefix_cache import Retention
from flowsim.core.slo import REST, Assignment, SLOMix
from flowsim.errors import InputError, unknown
from flowsim.io.schema import Checked, Name, Positive, PositiveCount, option
from flowsim.io.seeds import generator
from flowsim.traces.combine import parse_mix, reweighted, with_rates
from flowsim.traces.trace import Trace

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
    mix: Annotated[
        Mapping[str, float] | Name | None,
        option("Other shares of the classes: text=.5,search=.5 (the rest as in the trace).", "SHARES"),
    ] = None
    shares: Annotated[
        Mapping[str, Positive] | None,
        option(
            "Shares in which requests without a class draw one.",
            "SHARES",
            default="those of the SLO file, if any",
            flag=None,
        ),
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
        if self.mix and self.rates:
            raise InputError("mix", "is given together with rates, which are a mix too", expected="one of them")
        if self.shares and self.rates and not _alike(self.shares, self.rates):
            problem = f"differ in proportion from rates: {dict(self.shares)} and {dict(self.rates)}"
            raise InputError("shares", problem, expected="either, or both alike")

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


def drawn_shares(trace: Trace, workload: WorkloadOptions, slos: SLOMix) -> Mapping[str, float]:
    """The shares in which the requests of a trace draw their classes; empty if they do not.

    Raises:
        InputError: a class without an SLO, or a mix that wants shares where there are none.
    """
    shares = workload.shares or workload.rates or {}
    with blamed("slo.mix"):
        if slos.by == "shares" and not shares:
            raise InputError(f"SLO mix {slos.name!r}", "draws classes in the workload's shares, and there are none")
        for name in {**shares, **(workload.rates or {})}:
            if name not in slos.ttft_s and REST not in slos.ttft_s:
                raise unknown(f"class in the shares or rates, for the SLO mix {slos.name!r},", name, slos.ttft_s)
    return shares if slos.rule(trace, shares=bool(shares)) == "shares" else {}


def replayed(trace: Trace, workload: WorkloadOptions, slos: SLOMix, seed: int, until_s: float | None = None) -> Trace:
    """What is replayed of a trace: of the window, the first requests, in the mix, at the rate, until the end.

    Raises:
        InputError: a mix that the trace cannot have, a rate of a trace whose requests arrive at one instant, or a class
            without an SLO.
    """
    drawn_shares(trace, workload, slos)
    with blamed("workload.window"):
        trace = trace if workload.period_s is None else trace.window(*workload.period_s)
    with blamed("workload.limit"):
        trace = trace if workload.limit is None else trace.head(workload.limit)
    with blamed("workload.mix"):
        mix = workload.shares_of_classes
        trace = reweighted(trace, mix, seed) if mix else trace
    with blamed("workload.rates"):
        reweigh = slos.rule(trace, shares=True) == "class"
        trace = with_rates(trace, workload.rates, seed, reweigh=reweigh) if workload.rates else trace
    with blamed("workload.rate_scale" if workload.rate_rps is None else "workload.rate_rps"):
        trace = _at_rate(trace, workload)
    with blamed("until_s"):
        trace = trace if until_s is None or trace.span_s < until_s else trace.window(0.0, until_s)
    return trace


def promised(trace: Trace, workload: WorkloadOptions, slos: SLOMix, seed: int) -> Assignment:
    """The class and the SLO of each request of a replayed trace.

    Raises:
        InputError: not a single request gets an SLO.
    """
    with blamed("slo.mix"):
        shares = drawn_shares(trace, workload, slos)
        if not shares:
            return slos.assign(trace)
        slo = slos.assign(_drawn(trace, shares, seed))
    drawn = ", ".join(f"{name} {weight:g}" for name, weight in shares.items())
    return replace(slo, rule=f"{slo.rule}; classes drawn in shares {drawn} (seed {seed})")


def _at_rate(trace: Trace, workload: WorkloadOptions) -> Trace:
    if workload.rate_rps is not None and not trace.span_s:
        raise InputError(trace.where, "all requests arrive at one instant", expected="a trace that spans some time")
    factor = workload.rate_scale if workload.rate_rps is None else workload.rate_rps / trace.rate_rps
    return trace if factor == 1 else trace.scaled(factor)


def _drawn(trace: Trace, shares: Mapping[str, float], seed: int) -> Trace:
    """The trace with a class drawn for each request; with a seed, a request keeps its draw while shares move."""
    edges = np.cumsum(list(shares.values()))
    drawn = generator(seed).random(len(trace)) * edges[-1]
    codes = np.minimum(np.searchsorted(edges, drawn, side="right"), edges.size - 1).astype(np.int64)
    return replace(trace, class_code=codes, class_names=tuple(shares))


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


def _alike(some: Mapping[str, float], others: Mapping[str, float]) -> bool:
    """Whether these are the same weights but for a factor."""
    one, other = sum(some.values()), sum(others.values())
    return some.keys() == others.keys() and all(math.isclose(some[key] / one, others[key] / other) for key in some)


def digits(value: float) -> str:
    """A number as text, with all digits that it has."""
    return repr(float(value)).removesuffix(".0")
