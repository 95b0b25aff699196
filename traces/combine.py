"""Traces made from others: several merged, or one with another mix of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial, reduce
from typing import Any

import numpy as np

from flowsim.errors import InputError, unknown
from flowsim.io.pairs import numbers_by_name
from flowsim.io.seeds import generator
from flowsim.traces.columns import ROW_COLUMNS, Blocks, Bools, Chats, Floats, Ints
from flowsim.traces.trace import Trace


def merged(traces: Sequence[Trace], *, by_date: bool | None = None) -> Trace:
    """All requests of these traces, each at its own arrival time; ties in the order of the traces.

    Traces whose dates are known, such as parts of one log, stay as far apart as their dates, and a notice says so;
    without a date for each, all start together. Classes of the same name become one, and so do clients. Prefix
    blocks and conversations of different traces stay distinct; blocks are dropped, with a notice, if their sizes
    differ.

    Args:
        traces: the traces to merge.
        by_date: True places the traces by their dates, False lets all start together; default: by their dates if
            all are known.

    Raises:
        InputError: fewer than two traces, or no date for one that is to be placed by date.
    """
    if len(traces) < 2:
        raise InputError("number of traces to merge", found=len(traces), expected=">= 2")
    undated = [trace.name for trace in traces if trace.start_ns is None]
    if by_date and undated:
        raise InputError(undated[0], "its dates are not known", expected="dates, or a merge without --by-date")
    dated = not undated if by_date is None else by_date
    named = [replace(trace, notices=tuple(f"{trace.name}: {what}" for what in trace.notices)) for trace in traces]
    both = reduce(partial(_merged_pair, dated=dated), named)
    return replace(both, notices=(*both.notices, *_placement(traces, dated)))


def _placement(traces: Sequence[Trace], dated: bool) -> tuple[str, ...]:
    """How traces with dates were placed, one line."""
    starts = [trace.start_ns for trace in traces if trace.start_ns is not None]
    if dated:
        first = min(starts)
        parts = (f"{trace.name} from {((trace.start_ns or 0) - first) / 1e9:g} s" for trace in traces)
        return (f"placed by their dates: {', '.join(parts)}",)
    return ("the dates are not kept: all traces start together",) if starts else ()


def _merged_pair(one: Trace, other: Trace, *, dated: bool) -> Trace:
    names, codes = _joined_names(one.class_names, other.class_names, other.class_code)
    clients, client_codes = _joined_names(one.client_names, other.client_names, other.client_code)
    theirs = {name: getattr(other, name) for name in ROW_COLUMNS} | {"class_code": codes, "client_code": client_codes}
    columns: dict[str, Any] = {name: np.append(getattr(one, name), column) for name, column in theirs.items()}
    starts = [trace.start_ns or 0 for trace in (one, other)] if dated else [0, 0]
    late_s = [(start - min(starts)) / 1e9 for start in starts]
    arrival_s = np.append(one.arrival_s + late_s[0], other.arrival_s + late_s[1])
    order = np.argsort(arrival_s, kind="stable")
    blocks, dropped = _merged_blocks(one, other)
    chats = _merged_chats(one, other)
    return Trace.from_columns(
        arrival_s[order],
        **{name: column[order] for name, column in columns.items()},
        class_names=names,
        client_names=clients,
        name=f"{one.name}+{other.name}",
        source=f"{one.source} + {other.source}",
        notices=(*one.notices, *other.notices, *dropped),
        blocks=blocks and blocks.take(order),
        chats=chats and chats.take(order),
        start_ns=min(starts) if dated else None,
    )


def _joined_names(one: tuple[str, ...], other: tuple[str, ...], codes: Ints) -> tuple[tuple[str, ...], Ints]:
    """The names of both, and the second one's codes among them."""
    names = tuple(dict.fromkeys((*one, *other)))
    return names, np.array([*(names.index(name) for name in other), -1])[codes]


def _merged_blocks(one: Trace, other: Trace) -> tuple[Blocks | None, tuple[str, ...]]:
    mine, theirs = (trace.blocks or Blocks.of(0, np.zeros(0, int), np.zeros(len(trace), int)) for trace in (one, other))
    if 0 not in (mine.tokens, theirs.tokens) and mine.tokens != theirs.tokens:
        what = f"prefix blocks of {mine.tokens} tokens and of {theirs.tokens} do not go together: dropped"
        return None, (what,)
    if not mine.ids.size + theirs.ids.size:
        return None, ()
    ids = np.append(*(np.unique(some.ids, return_inverse=True)[1] for some in (mine, theirs)))
    ids[mine.ids.size :] += np.unique(mine.ids).size
    return Blocks.of(mine.tokens or theirs.tokens, ids, np.append(mine.counts, theirs.counts)), ()


def _merged_chats(one: Trace, other: Trace) -> Chats | None:
    if one.chats is None and other.chats is None:
        return None
    mine, theirs = (trace.chats or Chats(*np.full((3, len(trace)), -1)) for trace in (one, other))
    known = np.unique(np.concatenate([mine.chat_id, mine.parent_chat_id, [-1]]))
    others = np.unique(np.concatenate([theirs.chat_id, theirs.parent_chat_id, [-1]]))

    def numbered(name: str) -> Ints:
        """Ids replaced by their rank, those of the second trace after those of the first."""
        first = np.searchsorted(known, getattr(mine, name)) - 1
        second = np.searchsorted(others, getattr(theirs, name)) - 1
        return np.append(first, np.where(second < 0, -1, second + known.size - 1))

    return Chats(numbered("chat_id"), numbered("parent_chat_id"), np.append(mine.turn, theirs.turn))


def parse_mix(text: str) -> dict[str, float]:
    """The shares of classes in text such as "text=.5,search=.5".

    Raises:
        InputError: a pair is not CLASS=SHARE, or a class is given twice.
    """
    return numbers_by_name(text, "mix", "CLASS=SHARE pairs")


def reweighted(trace: Trace, mix: Mapping[str, float], seed: int = 0) -> Trace:
    """The same arrivals with another mix of classes: as few requests as possible are replaced.

    Arrival times stay. The number of requests of each class follows from its share (by largest remainders); what the
    named shares leave of 1 is divided among the other classes in the proportions of the trace. From a class with too
    many requests, some are drawn at random and replaced, each by a request drawn with replacement from a class with
    too few: by its lengths, class, SLO, priority and client, without prefix blocks or conversation, so that no reuse
    is invented. One draw
    serves all mixes: as a share changes further, the requests replaced before stay replaced, and the trace's own
    shares leave it unchanged. If several classes have too few requests, the class that replaces a request can change
    with the mix.

    Args:
        trace: a trace with classes.
        mix: share of the requests by class, from 0 to 1.
        seed: seed of the draw.

    Raises:
        InputError: the trace has no classes, a class is unknown or has no request, or the shares are not from 0 to 1
            or sum to more than 1.
    """
    shares = _shares(trace, mix)
    rows, replaced = _replacements(trace, shares, seed)
    kept = np.where(replaced, -1, rows)
    named = ", ".join(f"{name} {share:.3g}" for name, share in zip((*trace.class_names, "(none)"), shares, strict=True))
    return trace.derived(
        f"mix {named.removesuffix(', (none) 0')}: {replaced.sum()} of {len(trace)} requests replaced (seed {seed})",
        **{name: getattr(trace, name)[rows] for name in ROW_COLUMNS},
        blocks=trace.blocks and trace.blocks.take(kept),
        chats=trace.chats and trace.chats.take(kept),
    )


def _shares(trace: Trace, mix: Mapping[str, float]) -> Floats:
    """The share of each class, and of the requests without one; they sum to 1."""
    if not trace.class_names:
        raise InputError(trace.where, "has no classes, so their mix cannot be changed")
    for name, share in mix.items():
        if name not in trace.class_names:
            raise unknown("class", name, trace.class_names).within("mix")
        if not 0 <= share <= 1:
            raise InputError(f"mix: {name}", found=share, expected="from 0 to 1")
    left = 1 - sum(mix.values())
    have = _counts(trace)
    given = np.array([*(mix.get(name, np.nan) for name in trace.class_names), np.nan])
    others = np.where(np.isnan(given), have, 0)
    if left < -1e-9:
        raise InputError("sum of the shares of the mix", found=float(f"{1 - left:g}"), expected="<= 1")
    if left > 1e-9 and not others.any():
        expected = "1, since no other class is left"
        raise InputError("sum of the shares of the mix", found=float(f"{1 - left:g}"), expected=expected)
    return np.where(np.isnan(given), others * (max(left, 0.0) / max(others.sum(), 1)), given)


def _counts(trace: Trace) -> Ints:
    """Requests of each class and, last, of those without one."""
    return np.roll(np.bincount(trace.class_code + 1, minlength=len(trace.class_names) + 1), -1)


def _replacements(trace: Trace, shares: Floats, seed: int) -> tuple[Ints, Bools]:
    """The row that replaces each row, and whether it is another one; `shares` as returned by `_shares`."""
    n, code = len(trace), np.where(trace.class_code < 0, len(trace.class_names), trace.class_code)
    have, want = _counts(trace), _apportioned(shares, n)
    for name, wanted, there in zip(trace.class_names, want, have, strict=False):
        if wanted and not there:
            raise InputError(trace.where, f"has no request of class {name!r} to draw from")
    rng = generator(seed)
    turn, pick = rng.permutation(n), rng.random(n)
    start = np.cumsum(have) - have  # of each class among the rows sorted by class
    place = np.empty(n, dtype=np.int64)
    place[np.lexsort((turn, code))] = np.arange(n) - np.repeat(start, have)
    replaced = place < np.maximum(have - want, 0)[code]
    gone = np.flatnonzero(replaced)
    gone = gone[np.argsort(turn[gone])]
    donor = np.repeat(np.arange(have.size), np.maximum(want - have, 0))
    rows = np.arange(n)
    rows[gone] = np.argsort(code, kind="stable")[start[donor] + (pick[gone] * have[donor]).astype(np.int64)]
    return rows, replaced


def _apportioned(weights: Floats, n: int) -> Ints:
    """`n` divided by weight: whole parts, then one each to the largest remainders (ties: the first)."""
    exact = weights / weights.sum() * n
    counts: Ints = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: n - counts.sum()]] += 1
    return counts


def with_rates(trace: Trace, rates: Mapping[str, float], seed: int = 0, *, reweigh: bool = True) -> Trace:
    """The trace with these requests per second of each class: `reweighted` by the rates, and scaled to their sum.

    Without `reweigh` it is only scaled, for classes that are drawn later.

    Raises:
        InputError: as for `reweighted`; also if all requests arrive at one instant.
    """
    if not trace.span_s:
        raise InputError(trace.where, "has no rate: all requests arrive at one instant")
    for name in rates if reweigh else ():
        if name not in trace.class_names:
            raise unknown("class", name, trace.class_names).within("class rates")
    total_rps = sum(rates.values())
    shares = {name: rate / total_rps for name, rate in rates.items()}
    mixed = reweighted(trace, shares, seed) if reweigh else trace
    return mixed.scaled(total_rps / trace.rate_rps)
