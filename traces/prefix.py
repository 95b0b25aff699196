"""What requests share with earlier ones: prefix blocks and conversations, and what a prefix cache makes of them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from flowsim.errors import InputError
from flowsim.traces.columns import Ints

if TYPE_CHECKING:
    from flowsim.traces.trace import Trace

CACHES = "none, ideal, lru:BLOCKS"
PAPER_BLOCK = 16
"""Tokens of a block of QwenTrace."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """The prefix blocks of n requests: equal ids stand for equal tokens with equal tokens before them.

    Request i has `ids[offsets[i]:offsets[i + 1]]`, the first of its blocks first; the last may be partly filled.
    """

    tokens: int
    """Tokens of a whole block."""
    ids: Ints
    offsets: Ints
    """Shape [n + 1], from 0 to the number of ids."""

    @classmethod
    def of(cls, tokens: int, ids: Ints, counts: Ints) -> Blocks:
        """Blocks of which each request has so many."""
        return cls(tokens, ids, np.append(0, np.cumsum(counts)))

    @property
    def counts(self) -> Ints:
        """Blocks of each request, shape [n]."""
        return np.diff(self.offsets)

    def take(self, rows: Ints) -> Blocks:
        """The blocks of these requests; none for a row of -1."""
        known = np.maximum(rows, 0)
        counts = np.where(rows < 0, 0, self.counts[known])
        starts = np.repeat(self.offsets[known], counts)
        places = starts + np.arange(starts.size) - np.repeat(np.cumsum(counts) - counts, counts)
        return Blocks.of(self.tokens, self.ids[places], counts)


@dataclass(frozen=True, eq=False)
class Chats:
    """The conversations of n requests, each column of shape [n]; -1 = not known, or none."""

    chat_id: Ints
    parent_chat_id: Ints
    """`chat_id` of the request whose answer this one continues."""
    turn: Ints
    """1 for the first request of a conversation."""

    def take(self, rows: Ints) -> Chats:
        """The conversations of these requests; none for a row of -1."""
        columns = (getattr(self, field.name) for field in fields(self))
        return Chats(*(np.where(rows < 0, -1, column[np.maximum(rows, 0)]) for column in columns))

    def parents(self) -> Ints:
        """Row of each request's parent in the same trace; -1 = it has none there."""
        order = np.argsort(self.chat_id, kind="stable")
        place = np.minimum(np.searchsorted(self.chat_id, self.parent_chat_id, sorter=order), order.size - 1)
        found = (self.parent_chat_id >= 0) & (self.chat_id[order[place]] == self.parent_chat_id)
        return np.where(found, order[place], -1)


def cached_tokens(trace: Trace, cache: str = "ideal") -> Ints:
    """Tokens of each request that a prefix cache holds when it arrives, shape [n].

    Args:
        trace: the requests; only those with prefix blocks can have any.
        cache: "none"; "ideal", which forgets nothing; or "lru:BLOCKS", which holds so many blocks and forgets the
            least recently used (of one request the last block first, as vLLM does).

    Only whole blocks count, and at least one token of a prompt is left to compute. A block is taken to be there from
    the arrival of the first request with it; all instances share the cache.

    Raises:
        InputError: the cache is none of these, or the trace has no prefix blocks.
    """
    limit = _limit(cache)
    if limit == 0:
        return np.zeros(len(trace), dtype=np.int64)
    blocks = trace.blocks
    if blocks is None:
        found = f"{trace.name} has no prefix blocks (hash_ids), which the prefix cache {cache!r} needs"
        raise InputError(f"{found}; allowed: none")
    hits = _ideal_hits(blocks) if limit is None else _lru_hits(blocks, limit)
    return np.minimum(hits, (trace.input_length - 1) // blocks.tokens) * blocks.tokens


def _limit(cache: str) -> int | None:
    """The blocks that a cache holds; None = all."""
    if cache in ("none", "ideal"):
        return 0 if cache == "none" else None
    name, _, number = cache.partition(":")
    if name == "lru" and number.isdecimal() and int(number):
        return int(number)
    raise InputError(f"prefix cache {cache!r}; allowed: {CACHES}, with BLOCKS a whole number above 0")


def _ideal_hits(blocks: Blocks) -> Ints:
    """For each request, how many of its first blocks an earlier request had."""
    request = np.repeat(np.arange(blocks.counts.size), blocks.counts)
    _, first, inverse = np.unique(blocks.ids, return_index=True, return_inverse=True)
    missing = np.flatnonzero(request[first[inverse]] == request)
    ahead = np.append(missing, blocks.ids.size)[np.searchsorted(missing, blocks.offsets[:-1])]
    hits: Ints = np.minimum(ahead, blocks.offsets[1:]) - blocks.offsets[:-1]
    return hits


def _lru_hits(blocks: Blocks, limit: int) -> Ints:
    """The same with a cache of `limit` blocks."""
    held: OrderedDict[int, None] = OrderedDict()
    hits = np.zeros(blocks.counts.size, dtype=np.int64)
    ids, offsets = blocks.ids.tolist(), blocks.offsets.tolist()
    for row, (start, end) in enumerate(pairwise(offsets)):
        mine = ids[start:end]
        hits[row] = next((k for k, id in enumerate(mine) if id not in held), len(mine))
        for id in reversed(mine):
            held[id] = None
            held.move_to_end(id)
        while len(held) > limit:
            held.popitem(last=False)
    return hits


def new_tokens(trace: Trace, classes: tuple[str, ...] = ("text",)) -> Trace:
    """The paper's preparation of a multi-turn trace: later turns of these classes keep only their new tokens.

    The new tokens of a request are its blocks less those of the request that it continues, last blocks counted
    whole, times the tokens of a block. A later turn whose parent is not in the trace, or that has no more blocks
    than its parent, stays as it is; a notice counts both. Source: what the FlowPrefill authors replayed, against the
    rows of QwenTrace A that they took.

    Raises:
        InputError: the trace does not know conversations.
    """
    if trace.chats is None:
        raise InputError(f"{trace.name} has no chat_id and parent_chat_id, from which new tokens are found")
    size = trace.blocks.tokens if trace.blocks else PAPER_BLOCK
    parent = trace.chats.parents()
    codes = [code for code, name in enumerate(trace.class_names) if name in classes]
    later = np.isin(trace.class_code, codes) & (trace.chats.parent_chat_id >= 0)
    whole = -(-trace.input_length // size)
    left = (whole - whole[parent]) * size
    cut = later & (parent >= 0) & (left > 0)
    what = f"{', '.join(classes)}: {cut.sum()} of {later.sum()} later turns keep only their new tokens"
    rest = f"the other {later.sum() - cut.sum()} have no parent here, or no new block"
    return trace.derived(f"{what}; {rest}", input_length=np.where(cut, left, trace.input_length), blocks=None)
