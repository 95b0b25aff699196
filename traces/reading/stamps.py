"""Time stamps: coarse ones are spread over the time they stand for, implausible ones are pointed out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flowsim.io.counts import number_of
from flowsim.io.seeds import generator
from flowsim.traces.columns import Floats, Ints
from flowsim.traces.formats import Format
from flowsim.traces.trace import Trace

UNITS_S = (60.0, 1.0, 0.1, 0.01)
"""Units in which time stamps are rounded, coarsest first. Finer ones do not matter to a TTFT."""
NEAR = 0.02
"""How far a gap may be from a multiple of a tick, in ticks."""
MOST_GAPS = 0.9
"""Share of the gaps that must be multiples of the tick."""
SHARED_STAMPS = 10
"""Fewest time stamps shared by several requests."""
LEAST_DISPERSION = 0.25
"""Least variance over mean of the number of requests per tick: 1 for Poisson arrivals, 0 for as many in each tick."""

FEWEST_REQUESTS = 100
"""Requests from which a rate is judged."""
PLAUSIBLE_RPS = (0.02, 1000.0)
"""Plausible mean rates. In milliseconds read as seconds, 5 req/s are 0.005; in seconds read as milliseconds, 5000."""
PLAUSIBLE_DAYS = 366
DAY_S = 86400.0


def spread(trace: Trace, kind: Format, seed: int) -> Trace:
    """The trace with the requests of each tick spread over the tick, if its time stamps are coarse.

    They are spread uniformly at random from their time stamp to the next tick, in the order of the file. That is
    where arrivals lie whose time stamps were truncated; had they been rounded, all would be half a tick earlier,
    which leaves no trace because the first arrival is at 0 s in either case.

    Time stamps are coarse if at least 90 % of the gaps between different ones are multiples of a tick of 10 ms or
    more, at least 10 of them are shared by several requests, and the number of requests per tick varies as that of
    real arrivals does (variance / mean >= 0.25). So equal batches at equal intervals, and one request a second, are
    left alone. In a format whose time stamps are known to be coarse, it is enough that they are multiples of a tick
    and that two requests share one on average.
    """
    stamps, stamp_of, counts = np.unique(trace.arrival_s, return_inverse=True, return_counts=True)
    tick_s = _known_tick(stamps, len(trace)) if kind.coarse else None
    tick_s = tick_s or _rounded_tick(stamps, counts)
    if tick_s is None:
        return trace
    width = np.minimum(np.append(np.diff(stamps), tick_s), tick_s)[stamp_of]
    # Ticks do not overlap, so sorting keeps each request in its tick and in its place.
    arrival = np.sort(trace.arrival_s + width * generator(seed).random(len(trace)))
    notice = f"ticks of {tick_s:g} s: the requests of each were spread over it at random (seed {seed})"
    start_ns = None if trace.start_ns is None else trace.start_ns + round(float(arrival[0]) * 1e9)
    notices = (*trace.notices, notice)
    return replace(trace, arrival_s=arrival - arrival[0], notices=notices, start_ns=start_ns)


def _known_tick(stamps: Floats, requests: int) -> float | None:
    """The tick of time stamps that are known to be coarse: it need not be a round number of seconds."""
    if not 3 <= stamps.size <= requests / 2:
        return None
    tick_s = float(np.median(np.diff(stamps)))
    return tick_s if _near_multiples(np.diff(stamps), tick_s)[0].mean() >= MOST_GAPS else None


def _rounded_tick(stamps: Floats, counts: Ints) -> float | None:
    """The tick to which the data show that time stamps were rounded; see `spread`."""
    if np.count_nonzero(counts > 1) < SHARED_STAMPS:
        return None
    for unit_s in UNITS_S:
        near, multiples = _near_multiples(np.diff(stamps), unit_s)
        if near.mean() >= MOST_GAPS:
            tick_s = unit_s * int(np.gcd.reduce(multiples[near]))
            ticks = round(float(stamps[-1] - stamps[0]) / tick_s) + 1
            mean = counts.sum() / ticks
            return tick_s if (counts.astype(float) ** 2).sum() / ticks - mean**2 >= LEAST_DISPERSION * mean else None
    return None


def _near_multiples(gaps: Floats, unit_s: float) -> tuple[np.ndarray, Ints]:
    """Which gaps are near a multiple of a unit, and the multiple of each."""
    multiples = np.rint(gaps / unit_s).astype(np.int64)
    return (np.abs(gaps / unit_s - multiples) < NEAR) & (multiples > 0), multiples


def suspicions(trace: Trace, kind: Format) -> tuple[str, ...]:
    """What is implausible about the time stamps, one line each: one instant, an absurd rate, an absurd span.

    A mean rate is implausible below 0.02 or above 1000 req/s over 100 requests or more, a span above 366 days.
    """
    if not trace.span_s:
        return ("all requests arrive at one instant",) * (len(trace) > 1)
    found, (least, most) = [], PLAUSIBLE_RPS
    unit = {"s": "seconds", "ms": "milliseconds", "date": "dates"}[kind.clock]
    ask = f"is {kind.arrival!r}, read as {unit}, in another unit?"
    if len(trace) >= FEWEST_REQUESTS and not least <= trace.rate_rps <= most:
        found.append(
            f"suspicious time stamps: {trace.rate_rps:.3g} req/s over {number_of(len(trace), 'request')}; {ask}"
        )
    if trace.span_s > PLAUSIBLE_DAYS * DAY_S:
        found.append(f"suspicious time stamps: they span {trace.span_s / DAY_S:,.0f} days; {ask}")
    return tuple(found)
