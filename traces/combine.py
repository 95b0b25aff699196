"""Traces made of others: several at once, or one with another mix of classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np

from flowsim.errors import InputError, unknown
from flowsim.traces.columns import Bools, Ints
from flowsim.traces.prefix import Blocks, Chats
from flowsim.traces.trace import Trace


def merge(traces: Sequence[Trace]) -> Trace:
    """All requests of these traces, each at its own time from the start; of one instant in the order given.

    Classes of one name become one. Prefix blocks and conversations of different traces stay different; blocks are
    dropped, with a notice, when their sizes differ.

    Raises:
        InputError: fewer than two traces.
    """
    if len(traces) < 2:
        raise InputError(f"{len(traces)} traces to merge; allowed: two or more")
    return reduce(_merged, traces)


def _merged(one: Trace, other: Trace) -> Trace:
    names = tuple(dict.fromkeys((*one.class_names, *other.class_names)))
    table = np.array([*(names.index(name) for name in other.class_names), -1])
    arrival_s = np.append(one.arrival_s, other.arrival_s)
    order = np.argsort(arrival_s, kind="stable")
    blocks, dropped = _merged_blocks(one, other)
    chats = _merged_chats(one, other)
    return Trace.from_columns(
        arrival_s[order],
        np.append(one.input_length, other.input_length)[order],
        np.append(one.output_length, other.output_length)[order],
        np.append(one.class_code, table[other.class_code])[order],
        names,
        name=f"{one.name}+{other.name}",
        source=f"{one.source} + {other.source}",
        notices=(*one.notices, *other.notices, *dropped),
        blocks=blocks and blocks.take(order),
        chats=chats and chats.take(order),
    )


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
        """Conversations by their rank among all ids, those of the second trace after those of the first."""
        first = np.searchsorted(known, getattr(mine, name)) - 1
        second = np.searchsorted(others, getattr(theirs, name)) - 1
        return np.append(first, np.where(second < 0, -1, second + known.size - 1))

    return Chats(numbered("chat_id"), numbered("parent_chat_id"), np.append(mine.turn, theirs.turn))


def parse_mix(text: str) -> dict[str, float]:
    """The weights of classes in text such as "text=.5,search=.5"; InputError for a pair that is none."""
    weights: dict[str, float] = {}
    for pair in text.split(","):
        name, _, value = (part.strip() for part in pair.partition("="))
        try:
            weight = float(value)
        except ValueError:
            weight = math.nan
        if not name or name in weights or not 0 <= weight < math.inf:
            raise InputError(f"mix {text!r}: {pair.strip()!r}; allowed: each class once, as class=share")
        weights[name] = weight
    return weights


def reweighted(trace: Trace, mix: Mapping[str, float], seed: int = 0) -> Trace:
    """The same arrivals with another mix of classes: as few requests as possible are replaced.

    Arrival times stay. The number of requests of each class follows from its share (by largest remainders; shares are
    normalised, and a class that is not named gets none). Of a class with too many, requests drawn at random are
    replaced, each by one drawn with replacement from those of a class with too few: its lengths and class, but no
    prefix blocks and no conversation, so that no reuse is invented. One draw serves all mixes: as a share moves, the
    requests replaced before stay replaced, and the shares that the trace has leave it as it is.

    Raises:
        InputError: a class that the trace does not have, or shares that are negative or all 0.
    """
    for name in mix:
        if name not in trace.class_names:
            raise unknown(f"class of {trace.name}", name, trace.class_names or ("none",))
    if not 0 < sum(mix.values()) < math.inf or min(mix.values()) < 0:
        raise InputError(f"mix {dict(mix)}; allowed: shares that are not negative, and one above 0")
    rows, replaced = _replacements(trace, [mix.get(name, 0.0) for name in trace.class_names], seed)
    kept = np.where(replaced, -1, rows)
    shares = ", ".join(f"{name} {share / sum(mix.values()):g}" for name, share in mix.items())
    return trace.derived(
        f"mix {shares}: {replaced.sum()} of {len(trace)} requests replaced (seed {seed})",
        input_length=trace.input_length[rows],
        output_length=trace.output_length[rows],
        class_code=trace.class_code[rows],
        blocks=trace.blocks and trace.blocks.take(kept),
        chats=trace.chats and trace.chats.take(kept),
    )


def _replacements(trace: Trace, shares: Sequence[float], seed: int) -> tuple[Ints, Bools]:
    """The row that stands in for each row, and whether it is another's; requests without a class are all replaced."""
    n, code = len(trace), np.where(trace.class_code < 0, len(shares), trace.class_code)
    have = np.bincount(code, minlength=len(shares) + 1)
    want = np.append(_apportioned(shares, n), 0)
    for name, wanted, there in zip(trace.class_names, want, have, strict=False):
        if wanted and not there:
            raise InputError(f"{trace.name} has no request of class {name!r} to draw from")
    rng = np.random.default_rng(seed)
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


def _apportioned(weights: Sequence[float], n: int) -> Ints:
    """`n` shared out by weight: whole parts, then one each to the largest remainders (ties: the first)."""
    exact = np.array(weights) / sum(weights) * n
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: n - counts.sum()]] += 1
    return counts


def with_rates(trace: Trace, rates: Mapping[str, float], seed: int = 0, *, reweigh: bool = True) -> Trace:
    """The trace with so many requests per second of each class: `reweighted` by their rates, and scaled to their sum.

    Without `reweigh` it is only scaled, for classes that are drawn later.

    Raises:
        InputError: as `reweighted` does; also when all requests arrive at once.
    """
    if not trace.span_s:
        raise InputError(f"{trace.name} has no rate: all its requests arrive at once")
    mixed = reweighted(trace, rates, seed) if reweigh else trace
    return mixed.scaled(sum(rates.values()) / trace.rate_rps)
