"""PrefillOnly's order, on timelines by hand. A token takes a second."""

from __future__ import annotations

from support.timelines import ran, run


def test_a_second_of_waiting_is_worth_500_tokens() -> None:
    """The second waited 1/64 s longer than the third, 7.8 tokens: 9 against 1 is just too many, 8 is not."""
    for tokens, then in [(9, [2, 1]), (8, [1, 2])]:
        rows = [(0.0, 5, 99.0), (1.0, tokens, 99.0), (1.015625, 1, 99.0)]
        assert [members for _, _, (members,), _ in ran(run("prefillonly", *rows))] == [0, *then]
        assert [members for _, _, (members,), _ in ran(run("sjf:batch_tokens=1", *rows))] == [0, 2, 1]
