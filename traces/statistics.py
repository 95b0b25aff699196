"""What a trace looks like (rate, burstiness, lengths, prefix reuse), and how far it is from another."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowsim.traces.columns import Bools, Floats
from flowsim.traces.prefix import reusable_tokens
from flowsim.traces.trace import Trace

PERCENTS = (10, 25, 50, 75, 90, 99)
WINDOWS_S = (1.0, 10.0, 60.0)
FEWEST_WINDOWS = 10
RATE_BINS = 60


def info(trace: Trace) -> dict[str, Any]:
    """What the trace holds, as plain values; None where it is unknown.

    The keys of `Trace.describe`, and

        gap_cv      coefficient of variation of the gaps between arrivals (1 for a Poisson process)
        dispersion  by window in seconds, variance over mean of the arrivals per window (1 for a Poisson process)
        rate        bin_s, the width of a bin in seconds, and rps, the requests per second in each of up to 60 bins:
                    gaps that end in the bin over its width, so that their mean is rate_rps
        lengths     by class ("all" first), the number of requests; mean, quantiles and maximum of the input lengths
                    and of the known output lengths; and Spearman's rank correlation of the two
        prefix      see `prefix_reuse`
        turns       number of requests that continue another
        slo         number of requests with a TTFT SLO of their own, and the least and largest in seconds
        priority    the number of requests by priority, lowest first
        clients     number of clients, and the largest share of the requests that one of them sent
        measured    number of requests whose TTFT a real server measured, and quantiles and maximum in seconds
    """
    gaps = np.diff(trace.arrival_s)
    return trace.describe() | {
        "gap_cv": _over(float(gaps.std()), float(gaps.mean())) if gaps.size else None,
        "dispersion": {f"{window_s:g}": dispersion(trace, window_s) for window_s in WINDOWS_S},
        "rate": dict(zip(("bin_s", "rps"), rate_over_time(trace, RATE_BINS), strict=True)),
        "lengths": {name: _lengths(trace, rows) for name, rows in groups(trace).items()},
        "prefix": None if trace.blocks is None else prefix_reuse(trace),
        "turns": None if trace.chats is None else int((trace.chats.parent_chat_id >= 0).sum()),
        **_per_request(trace),
    }


def _per_request(trace: Trace) -> dict[str, Any]:
    """The SLOs, priorities and clients that the trace gives its requests; None where it has none."""
    slos = trace.slo_s[~np.isnan(trace.slo_s)]
    priorities, counts = np.unique(trace.priority, return_counts=True)
    sent = np.bincount(trace.client_code[trace.client_code >= 0])
    return {
        "slo": {"requests": slos.size, "least_s": float(slos.min()), "most_s": float(slos.max())}
        if slos.size
        else None,
        "priority": dict(zip(priorities.tolist(), counts.tolist(), strict=True)) if trace.has("priority") else None,
        "clients": {"clients": int((sent > 0).sum()), "largest_share": float(sent.max() / len(trace))}
        if sent.size
        else None,
        "measured": _measured(trace.ttft_s[~np.isnan(trace.ttft_s)]),
    }


def _measured(ttft_s: Floats) -> dict[str, Any] | None:
    if not ttft_s.size:
        return None
    figures = {f"p{q}": float(v) for q, v in zip(PERCENTS, np.percentile(ttft_s, PERCENTS), strict=True)}
    return {"requests": ttft_s.size, **figures, "max": float(ttft_s.max())}


def dispersion(trace: Trace, window_s: float) -> float | None:
    """Variance over mean of the number of arrivals in windows of `window_s`; None for fewer than 10 windows."""
    windows = int(trace.span_s // window_s)
    if windows < FEWEST_WINDOWS:
        return None
    # Only windows with an arrival are enumerated: in a trace with long pauses most have none.
    arrival_s = trace.arrival_s[trace.arrival_s < windows * window_s]
    counts = np.unique(arrival_s // window_s, return_counts=True)[1]
    mean = arrival_s.size / windows
    return _over(float((counts.astype(np.float64) ** 2).sum()) / windows - mean**2, mean)


def prefix_reuse(trace: Trace) -> dict[str, Any]:
    """Prefix reuse as plain values: tokens per block, all and different blocks, and the share of the requests and of
    the input tokens that a prefix cache could serve at most (`reusable_tokens`).

    Raises:
        InputError: the trace has no prefix blocks.
    """
    reusable = reusable_tokens(trace)
    assert trace.blocks is not None
    return {
        "block_tokens": trace.blocks.tokens,
        "blocks": int(trace.blocks.ids.size),
        "different_blocks": int(np.unique(trace.blocks.ids).size),
        "requests_share": float((reusable > 0).mean()),
        "tokens_share": float(reusable.sum() / trace.input_length.sum()),
    }


def trace_distances(trace: Trace, real: Trace) -> dict[str, Any]:
    """How far a trace is from a real one, as plain values. Pairs are (trace, real).

        ks          by class of both ("all" first): pairs of the number and the share of requests, and the
                    Kolmogorov-Smirnov distances of input and output lengths (None if one has no known length)
        rate_rps    pair of mean rates
        gap_cv      pair of coefficients of variation of the gaps
        dispersion  by window in seconds, pair of indices of dispersion

    Equal lengths and gaps do not imply equal bursts: only the dispersion shows those.
    """
    mine, theirs = groups(trace), groups(real)
    facts = [info(one) for one in (trace, real)]
    compared = {
        name: {
            "requests": [int(mine[name].sum()), int(theirs[name].sum())],
            "share": [float(rows.mean()) for rows in (mine[name], theirs[name])],
            **{
                column.removesuffix("_length"): ks_distance(
                    getattr(trace, column)[mine[name]], getattr(real, column)[theirs[name]]
                )
                for column in ("input_length", "output_length")
            },
        }
        for name in mine
        if name in theirs
    }
    bursts = {window: [fact["dispersion"][window] for fact in facts] for window in facts[0]["dispersion"]}
    pairs = {key: [fact[key] for fact in facts] for key in ("rate_rps", "gap_cv")}
    return {"ks": compared, **pairs, "dispersion": bursts}


def ks_distance(one: NDArray[Any], other: NDArray[Any]) -> float | None:
    """Kolmogorov-Smirnov distance: the largest difference of the empirical distribution functions of the known lengths
    (not 0); None if either has none."""
    one, other = one[one > 0], other[other > 0]
    if not (one.size and other.size):
        return None
    values = np.union1d(one, other)
    shares = [np.searchsorted(np.sort(some), values, side="right") / some.size for some in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def groups(trace: Trace) -> dict[str, Bools]:
    """Masks of "all" requests, of each class, and, if there are classes, of the requests without one, "(none)". The two
    labels get further brackets where a class has that name."""
    found: dict[str, Bools] = {_free("all", trace): np.ones(len(trace), dtype=bool)}
    found |= {name: trace.class_code == code for code, name in enumerate(trace.class_names)}
    if trace.class_names and (trace.class_code < 0).any():
        found[_free("(none)", trace)] = trace.class_code < 0
    return {name: rows for name, rows in found.items() if rows.any()}


def _free(label: str, trace: Trace) -> str:
    return _free(f"({label})", trace) if label in trace.class_names else label


def _lengths(trace: Trace, rows: Bools) -> dict[str, Any]:
    inputs, outputs = trace.input_length[rows], trace.output_length[rows]
    known = outputs > 0
    return {
        "requests": int(rows.sum()),
        "input": _quantiles(inputs),
        "output": _quantiles(outputs[known]) if known.any() else None,
        "rank_correlation": _spearman(inputs[known], outputs[known]),
    }


def _quantiles(values: NDArray[Any]) -> dict[str, float]:
    figures = {f"p{q}": float(v) for q, v in zip(PERCENTS, np.percentile(values, PERCENTS), strict=True)}
    return {"mean": float(values.mean()), **figures, "max": float(values.max())}


def _spearman(one: NDArray[Any], other: NDArray[Any]) -> float | None:
    if not one.size or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def _ranks(values: NDArray[Any]) -> Floats:
    """Ranks from 1; ties share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def rate_over_time(trace: Trace, most_bins: int) -> tuple[float | None, list[float]]:
    """The width of a bin in seconds, and the requests per second in each of up to `most_bins` bins of equal width.

    A bin counts the gaps that end in it, its end included, so that the mean over the bins is `Trace.rate_rps`. None
    and no bins if all requests arrive at one instant.
    """
    if not trace.span_s:
        return None, []
    bins = max(min(most_bins, len(trace) // 10), 1)
    before_end_s = trace.span_s - trace.arrival_s[1:]  # a histogram's bins include their start
    counts: Floats = np.histogram(before_end_s, bins, (0, trace.span_s))[0][::-1] * bins / trace.span_s
    return trace.span_s / bins, [float(rate) for rate in counts]


def _over(part: float, whole: float) -> float | None:
    return part / whole if whole and math.isfinite(whole) else None
