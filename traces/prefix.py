"""What requests share with earlier ones: their prefix blocks, and the new tokens of later turns."""

from __future__ import annotations

import numpy as np

from flowsim.errors import InputError
from flowsim.traces.columns import Blocks, Ints
from flowsim.traces.trace import Trace

QWEN_BLOCK_TOKENS = 16
"""Tokens in a prefix block of QwenTrace."""


def reusable_tokens(trace: Trace) -> Ints:
    """Tokens at the beginning of each request that earlier requests had too, shape [n].

    A prefix cache serves at most these: a block counts from the arrival of the first request that has it, for good and
    for all instances. Only full blocks count, and at least one token of each prompt is left to compute.

    Raises:
        InputError: the trace has no prefix blocks.
    """
    blocks = trace.blocks
    if blocks is None:
        raise InputError(trace.where, "has no prefix blocks (hash_ids)")
    return np.minimum(_earlier(blocks), (trace.input_length - 1) // blocks.tokens) * blocks.tokens


def full_blocks(trace: Trace, blocks: Blocks) -> list[list[int]]:
    """The ids of the full blocks of each request."""
    ends = np.minimum(blocks.offsets[1:], blocks.offsets[:-1] + trace.input_length // blocks.tokens)
    ids = blocks.ids.tolist()
    return [ids[start:end] for start, end in zip(blocks.offsets[:-1].tolist(), ends.tolist(), strict=True)]


def _earlier(blocks: Blocks) -> Ints:
    """For each request, how many of its leading blocks an earlier request had, shape [n]."""
    request = np.repeat(np.arange(blocks.counts.size), blocks.counts)
    _, first, inverse = np.unique(blocks.ids, return_index=True, return_inverse=True)
    missing = np.flatnonzero(request[first[inverse]] == request)
    ahead = np.append(missing, blocks.ids.size)[np.searchsorted(missing, blocks.offsets[:-1])]
    hits: Ints = np.minimum(ahead, blocks.offsets[1:]) - blocks.offsets[:-1]
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
        raise InputError(trace.where, "has no conversations (chat_id, parent_chat_id), from which new tokens are found")
    size = trace.blocks.tokens if trace.blocks else QWEN_BLOCK_TOKENS
    parent = trace.chats.parents()
    codes = [code for code, name in enumerate(trace.class_names) if name in classes]
    later = np.isin(trace.class_code, codes) & (trace.chats.parent_chat_id >= 0)
    whole = -(-trace.input_length // size)
    left = (whole - whole[parent]) * size
    cut = later & (parent >= 0) & (left > 0)
    if not later.any():
        return trace.derived(f"no {', '.join(classes)} request continues another: all keep their tokens", blocks=None)
    what = f"{', '.join(classes)}: {cut.sum()} of {later.sum()} later turns keep only their new tokens"
    rest = f"the other {later.sum() - cut.sum()} have no parent here, or no new block"
    return trace.derived(f"{what}; {rest}", input_length=np.where(cut, left, trace.input_length), blocks=None)
