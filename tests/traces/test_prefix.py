"""Prefix blocks and the paper's preparation: compared with plain ones, and with what the authors replayed."""

import csv
import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsim.errors import InputError
from flowsim.traces import Chats, Trace, new_tokens, read_trace, reusable_tokens
from flowsim.traces.prefix import full_blocks
from support.traces import QWEN, needs_traces, with_blocks


def test_what_is_reusable_by_hand():
    trace = with_blocks([[1, 2, 3], [1, 2, 4], [5], [1, 2, 4], []], lengths=[12, 11, 4, 13, 2])
    assert reusable_tokens(trace).tolist() == [0, 8, 0, 12, 0]


def test_the_last_token_is_always_computed():
    assert reusable_tokens(with_blocks([[1, 2], [1, 2]], lengths=[8, 8])).tolist() == [0, 4]
    assert reusable_tokens(with_blocks([[1], [1]], lengths=[1, 1])).tolist() == [0, 0]


LISTS = st.lists(st.lists(st.integers(0, 6), max_size=5, unique=True), min_size=1, max_size=25)


@given(LISTS)
def test_reusable_tokens_agree_with_plain_ones(lists):
    trace = with_blocks(lists, tokens=1, lengths=[9] * len(lists))
    earlier, reusable = set(), []
    for ids in lists:
        reusable.append(next((k for k, id in enumerate(ids) if id not in earlier), len(ids)))
        earlier.update(ids)
    assert reusable_tokens(trace).tolist() == reusable


def test_a_trace_without_blocks_has_nothing_to_reuse():
    with pytest.raises(InputError, match="has no prefix blocks"):
        reusable_tokens(Trace.of([0], [1]))


def test_only_full_blocks_are_listed():
    trace = with_blocks([[1, 2, 3], [1, 2], [], [4]], lengths=[12, 7, 5, 3])
    assert full_blocks(trace, trace.blocks) == [[1, 2, 3], [1], [], []]


def test_new_tokens_by_hand():
    trace = Trace.of([0, 1, 2, 3], [79, 209, 100, 70], classes=["text", "text", "file", "text"])
    chats = Chats(np.array([7, 8, 9, 10]), np.array([-1, 7, 7, 6]), np.array([1, 2, 2, 2]))
    made = new_tokens(trace.derived("made", chats=chats))
    assert made.input_length.tolist() == [79, 144, 100, 70]  # 14 blocks of 16 less 5
    assert "text: 1 of 2 later turns keep only their new tokens; the other 1 have no parent here" in made.notices[-1]
    with pytest.raises(InputError, match="has no conversations"):
        new_tokens(trace)


def test_without_later_turns_a_notice_says_so():
    trace = Trace.of([0, 1], [5, 6], classes=["text", "text"])
    alone = Chats(np.array([1, 2]), np.array([-1, -1]), np.array([1, 1]))
    made = new_tokens(dataclasses.replace(trace, chats=alone))
    assert made.input_length.tolist() == [5, 6]
    assert made.notices[-1].startswith("no text request continues another: all keep their tokens")


@needs_traces
def test_new_tokens_are_those_that_the_authors_replayed():
    replayed = read_trace(QWEN)
    length = dict(zip(replayed.chats.chat_id.tolist(), replayed.input_length.tolist(), strict=True))
    with (QWEN.with_name("sampled_rows.csv")).open() as file:
        raw = {int(row["chat_id"]): row for row in csv.DictReader(file)}
    second = [  # whose parent is a first turn, and so was replayed with its raw length
        (int(row["parent_chat_id"]), chat, int(row["raw_input_length"]))
        for chat, row in raw.items()
        if row["turn"] == "2" and row["type"] == "text" and chat in length and int(row["parent_chat_id"]) in length
    ]
    assert len(second) >= 5
    for parent, chat, n in second:
        trace = Trace.of([0, 1], [length[parent], n], classes=["text", "text"])
        chats = Chats(np.array([parent, chat]), np.array([-1, parent]), np.array([1, 2]))
        assert new_tokens(trace.derived("made", chats=chats)).input_length[1] == length[chat]


@given(st.lists(st.tuples(st.integers(-1, 6), st.integers(1, 90), st.sampled_from(["text", "file"])), min_size=1))
def test_new_tokens_agree_with_plain_ones(rows):
    """Each row: the chat that it continues, its length, its class; chats are numbered as they come."""
    parents, lengths, classes = zip(*rows, strict=True)
    trace = Trace.of(np.arange(len(rows)), lengths, classes=classes)
    chats = Chats(np.arange(len(rows)), np.array(parents), np.ones(len(rows), dtype=np.int64))
    expected = []
    for parent, length, name in rows:
        left = 0
        if name == "text" and 0 <= parent < len(rows):
            left = -(-length // 16) - -(-lengths[parent] // 16)
        expected.append(16 * left if left > 0 else length)
    assert new_tokens(trace.derived("made", chats=chats)).input_length.tolist() == expected
