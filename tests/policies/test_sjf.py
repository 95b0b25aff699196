"""Shortest job first, alone and weighed against the wait, by hand. A token takes a second."""

from __future__ import annotations

from flowsim.policies.sjf import SJF, VLLMSJF
from support.situations import executing, ids, request, situation
from support.timelines import ran, run


def test_sjf_takes_the_shortest_and_fills_up_with_the_next() -> None:
    queue = [request(0, 6), request(1, 2), request(2, 3), request(3, 2)]
    assert ids(SJF(8).choose(situation(waiting=queue))) == [1, 3, 2]
    assert ids(SJF(1).choose(situation(waiting=queue))) == [1]
    nearly_done, long = executing(request(4, 9), left=1.0), executing(request(5, 9))
    assert SJF(cut="layer").choose(situation(waiting=queue, running=nearly_done)) is nearly_done
    assert ids(SJF(2, cut="layer").choose(situation(waiting=queue, running=long))) == [1]
    assert SJF(cut="layer").choose(situation(paused=[long, nearly_done])) is nearly_done


def test_a_long_wait_makes_up_for_a_long_prompt() -> None:
    """With s(x) = 1 / (1 + e^-x), 100,000 tokens have s(-2.05) = .114 and 1,000 have s(.97) = .725.

    At 6 s the waits are 6 s and 3 s: s(.2) = .550 and s(-.4) = .401, in sum .664 and 1.126. At 30 s the long one has
    waited for 30 s, s(5) = .993, in sum 1.107; one that has just come has s(-1) = .269, in sum .994.
    """
    long, short, late = request(0, 100_000), request(1, 1000, arrival_s=3.0), request(2, 1000, arrival_s=30.0)
    assert ids(VLLMSJF(batch_tokens=1).choose(situation(now=6.0, waiting=[long, short]))) == [1]
    assert ids(VLLMSJF(batch_tokens=1).choose(situation(now=30.0, waiting=[long, late]))) == [0]
    assert ids(SJF(1).choose(situation(now=30.0, waiting=[long, late]))) == [2]


def test_among_prompts_of_about_one_length_the_wait_decides_until_it_is_long() -> None:
    for first, then in [(5, [1, 2]), (300, [2, 1])]:  # at 300 s both waits are worth their most, to the last bit
        rows = [(0.0, first, 999.0), (1.0, 9, 999.0), (2.0, 1, 999.0)]
        assert [members for _, _, (members,), _ in ran(run("vllm-sjf:batch_tokens=1", *rows))] == [0, *then]
        assert [members for _, _, (members,), _ in ran(run("sjf:batch_tokens=1", *rows))] == [0, 2, 1]


def test_a_second_of_waiting_is_worth_500_tokens() -> None:
    """The second waited 1/64 s longer than the third, 7.8 tokens: 9 against 1 is just too many, 8 is not."""
    for tokens, then in [(9, [2, 1]), (8, [1, 2])]:
        rows = [(0.0, 5, 99.0), (1.0, tokens, 99.0), (1.015625, 1, 99.0)]
        assert [members for _, _, (members,), _ in ran(run("prefillonly", *rows))] == [0, *then]
        assert [members for _, _, (members,), _ in ran(run("sjf:batch_tokens=1", *rows))] == [0, 2, 1]
