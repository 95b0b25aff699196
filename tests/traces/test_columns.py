"""Columns are checked, and their first bad value is named."""

import numpy as np
import pytest

from flowsim.errors import InputError
from flowsim.traces import Trace
from flowsim.traces.columns import Blocks, Chats, coded_names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, float("nan")], [1, 1]), "arrival_s[1] must be a finite number of seconds from 0 to 2**40, got nan"),
        (([-1, 0], [1, 1]), "arrival_s[0] must be a finite number of seconds from 0 to 2**40, got -1"),
        (([0, float("inf")], [1, 1]), "arrival_s[1] must be a finite number of seconds from 0 to 2**40, got inf"),
        (([0, 1], [1, 0]), "input_length[1] must be a whole number of tokens from 1 to 2**40, got 0"),
        (([0, 1], [1, 1.5]), "input_length[1] must be a whole number of tokens from 1 to 2**40, got 1.5"),
        (([0, 1], [1, 2**41]), "input_length[1] must be a whole number of tokens from 1 to 2**40, got 2199023255552"),
        (
            ([0, 1], [1, 1], [1, -1]),
            "output_length[1] must be a whole number of tokens from 0 (unknown) to 2**40, got -1",
        ),
        (([0, 1], [1]), "input_length: has 1 value; expected 2, as in arrival_s"),
        (([0, 1], [1, 1], None, ["a"]), "classes: has 1 value; expected 2, as in arrival_s"),
        (([0, 1], [1, 1], None, ["a", 3]), "classes[1] must be a non-empty Unicode string or null, got 3"),
        (([0, 1], ["1", "2"]), "input_length: is an array of <U1 of shape [2]; expected one number per request"),
        (([True, False], [1, 2]), "arrival_s: is an array of bool of shape [2]; expected one number per request"),
        (([[0.0]], [1]), "arrival_s: is an array of float64 of shape [1, 1]; expected one number per request"),
        (([0, None], [1, 1]), "arrival_s: is an array of object of shape [2]; expected one number per request"),
        ((np.zeros(0), np.zeros(0)), "built in memory: has no requests"),
    ],
)
def test_bad_columns_are_named(arguments, message):
    with pytest.raises(InputError) as error:
        Trace.of(*arguments)
    assert str(error.value) == message


def test_blocks_are_taken_by_request() -> None:
    blocks = Blocks.of(16, np.array([7, 8, 9]), np.array([2, 0, 1]))
    assert blocks.offsets.tolist() == [0, 2, 2, 3]
    taken = blocks.take(np.array([2, -1, 0, 1]))
    assert (taken.tokens, taken.ids.tolist(), taken.counts.tolist()) == (16, [9, 7, 8], [1, 0, 2, 0])


def test_the_parent_of_a_turn_is_found_in_any_order() -> None:
    chats = Chats(np.array([5, 3, 4]), np.array([4, -1, 3]), np.array([3, 1, 2]))
    assert chats.parents().tolist() == [2, -1, 1]
    taken = chats.take(np.array([0, 1, -1]))
    assert taken.chat_id.tolist() == [5, 3, -1]
    assert taken.parents().tolist() == [-1, -1, -1]  # the parent of 5 was left out


def test_names_are_numbered_as_they_come() -> None:
    codes, names = coded_names("classes", ["b", None, "a", "b"], 4)
    assert (codes.tolist(), names) == ([0, -1, 1, 0], ("b", "a"))
    codes, names = coded_names("classes", None, 2)
    assert (codes.tolist(), names) == ([-1, -1], ())
