"""What requests share with earlier ones: the tokens that a prefix cache holds, and the new tokens of later turns."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import numpy as np

from flowsim.errors import InputError
from flowsim.traces.columns import Blocks, Ints
from flowsim.traces.trace import Trace

CACHES = "none, ideal or lru:BLOCKS with BLOCKS >= 1"
QWEN_BLOCK_TOKENS = 16
"""Tokens in a prefix block of QwenTrace."""


def cached_tokens(trace: Trace, cache: str = "ideal") -> Ints:
    """Tokens of each request that a prefix cache holds when it arrives, shape [n].

    Args:
        trace: the requests; only those with prefix blocks can have any.
        cache: "none"; "ideal", which never evicts; or "lru:BLOCKS", which holds that many blocks and evicts the
            least recently used (within one request the last block first, as vLLM does).

    Only full blocks count, and at least one token of each prompt is left to compute. A block is cached from the
    arrival of the first request that has it; all instances share the cache.

    Raises:
        InputError: an unknown cache, or a trace without prefix blocks.
    """
    limit = _limit(cache)
    if limit == 0:
        return np.zeros(len(trace), dtype=np.int64)
    blocks = trace.blocks
    if blocks is None:
        raise InputError(trace.name, f"has no prefix blocks (hash_ids), which the prefix cache {cache!r} needs")
    hits = _ideal_hits(blocks) if limit is None else _lru_hits(blocks, limit)
    return np.minimum(hits, (trace.input_length - 1) // blocks.tokens) * blocks.tokens


def _limit(cache: str) -> int | None:
    """Number of blocks that a cache holds; None = unlimited."""
    if cache in ("none", "ideal"):
        return 0 if cache == "none" else None
    name, _, number = cache.partition(":")
    if name == "lru" and number.isdecimal() and int(number):
        return int(number)
    raise InputError("prefix_cache", found=cache, expected=CACHES)


def _ideal_hits(blocks: Blocks) -> Ints:
    """For each request, how many of its leading blocks an earlier request had, shape [n]."""
    request = np.repeat(np.arange(blocks.counts.size), blocks.counts)
    _, first, inverse = np.unique(blocks.ids, return_index=True, return_inverse=True)
    missing = np.flatnonzero(request[first[inverse]] == request)
    ahead = np.append(missing, blocks.ids.size)[np.searchsorted(missing, blocks.offsets[:-1])]
    hits: Ints = np.minimum(ahead, blocks.offsets[1:]) - blocks.offsets[:-1]
    return hits


def _lru_hits(blocks: Blocks, limit: int) -> Ints:
    """For each request, how many of its leading blocks an LRU cache of `limit` blocks holds, shape [n]."""
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

    The new tokens of a request are its blocks minus those of the request it continues (partly filled blocks count
    as full), times the tokens per block. A later turn whose parent is not in the trace, or that has no more blocks
    than its parent, stays as it is; a notice counts both. Source: the requests that the FlowPrefill authors
    replayed, compared with the rows of QwenTrace A from which they were made.

    Raises:
        InputError: the trace has no conversations.
    """
    if trace.chats is None:
        raise InputError(trace.name, "has no conversations (chat_id, parent_chat_id), from which new tokens are found")
    size = trace.blocks.tokens if trace.blocks else QWEN_BLOCK_TOKENS
    parent = trace.chats.parents()
    codes = [code for code, name in enumerate(trace.class_names) if name in classes]
    later = np.isin(trace.class_code, codes) & (trace.chats.parent_chat_id >= 0)
    whole = -(-trace.input_length // size)
    left = (whole - whole[parent]) * size
    cut = later & (parent >= 0) & (left > 0)
    what = f"{', '.join(classes)}: {cut.sum()} of {later.sum()} later turns keep only their new tokens"
    rest = f"the other {later.sum() - cut.sum()} have no parent here, or no new block"
    return trace.derived(f"{what}; {rest}", input_length=np.where(cut, left, trace.input_length), blocks=None)
