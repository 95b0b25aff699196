"""Passes on the two clocks: splitting, cutting, progress. Times that hypothesis draws are exact binary fractions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flowsim.core.pass_timeline import Forward, Launch, Run, Slice, Timeline, split
from support.reference.passes import forwards


def test_the_device_waits_for_the_host_and_for_itself() -> None:
    assert Run.of([]).end_s == 0.0
    assert Run.of([Launch(2.0, 1.0)] * 3).end_s == 7.0  # launched at 2, 4, 6
    assert Run.of([Launch(1.0, 5.0)] * 3).end_s == 16.0  # launched at 1, 2, 3, executed from 1, 6, 11
    assert Run.of([Launch(1.0, 5.0), Launch(9.0, 1.0), Launch(1.0, 3.0)]).end_s == 14.0


slices = st.lists(st.builds(Slice, st.integers(1, 40), st.integers(0, 40)), min_size=1, max_size=5)


def test_a_pass_is_split_in_the_order_of_its_slices() -> None:
    assert list(split([Slice(5, 0), Slice(2, 10), Slice(4, 0)], 4)) == [
        [Slice(4, 0)],
        [Slice(1, 4), Slice(2, 10), Slice(1, 0)],
        [Slice(3, 1)],
    ]


@given(slices, st.integers(1, 50))
def test_splitting_deals_out_every_token_once(parts: list[Slice], max_batched_tokens: int) -> None:
    found = list(split(parts, max_batched_tokens))
    assert found == list(forwards(parts, max_batched_tokens))
    sizes = [sum(one.tokens for one in forward) for forward in found]
    assert all(size == max_batched_tokens for size in sizes[:-1])
    assert sum(sizes) == sum(one.tokens for one in parts)


sixteenths = st.integers(0, 64).map(lambda n: n / 16)


@st.composite
def forward(draw: st.DrawFn, cuts: int, layers: int) -> Forward:
    gaps = draw(st.lists(st.integers(1, 32).map(lambda n: n / 16), min_size=cuts, max_size=cuts))
    places = [sum(gaps[: i + 1]) for i in range(cuts)]
    lead_s, tail_s = draw(sixteenths), draw(sixteenths) + 1 / 16
    duration_s = lead_s + (layers * places[-1] if places else 0.0) + tail_s
    return Forward(draw(st.integers(1, 9)), places, lead_s, layers, duration_s, duration_s)


@st.composite
def timeline_with_cuts(draw: st.DrawFn) -> tuple[Timeline, list[float], list[Forward]]:
    """A timeline, the times of its cuts written out, and its forwards."""
    inside, layers = draw(st.integers(0, 5)), draw(st.integers(1, 4))
    parts = draw(st.lists(forward(inside, layers), min_size=1, max_size=3))
    cuts, clock = [], 0.0
    for part in parts:
        for layer in range(part.layers):
            cuts += [clock + part.lead_s + layer * part.layer_cuts_s[-1] + place for place in part.layer_cuts_s]
        clock += part.duration_s
        cuts.append(clock)
    return Timeline(parts, "operator" if inside else "chunk"), cuts[:-1], parts


@given(timeline_with_cuts(), st.integers(0, 1600).map(lambda n: n / 16), st.integers(-1, 60), st.integers(0, 1))
def test_the_next_cut_is_the_first_that_is_still_ahead(
    drawn: tuple[Timeline, list[float], list[Forward]], elapsed_s: float, passed: int, further: int
) -> None:
    timeline, cuts, _ = drawn
    ahead = [(at, i) for i, at in enumerate(cuts) if at >= elapsed_s and i > passed][further:]
    assert timeline.next_cut(elapsed_s, passed, further) == (ahead[0] if ahead else None)


@given(timeline_with_cuts())
def test_cuts_are_numbered_through_the_pass(drawn: tuple[Timeline, list[float], list[Forward]]) -> None:
    timeline, cuts, parts = drawn
    assert [timeline.cut_s(i) for i in range(len(cuts))] == cuts
    assert timeline.duration_s == sum(part.duration_s for part in parts)
    passed, visited = -1, []
    while (place := timeline.next_cut(visited[-1] if visited else 0.0, passed)) is not None:
        visited.append(place[0])
        passed = place[1]
    assert visited == cuts


@given(timeline_with_cuts(), st.data())
def test_progress_counts_the_forwards_that_have_ended(
    drawn: tuple[Timeline, list[float], list[Forward]], data: st.DataObject
) -> None:
    timeline, cuts, parts = drawn
    elapsed_s = data.draw(st.one_of(st.sampled_from([0.0, *cuts]), st.integers(0, 1600).map(lambda n: n / 16)))
    tokens, since_s = 0, elapsed_s
    for part in parts:
        if since_s < part.duration_s:
            break
        tokens, since_s = tokens + part.tokens, since_s - part.duration_s
    assert timeline.progress(elapsed_s) == (tokens, since_s)


def test_a_pass_whose_cut_is_none_has_none() -> None:
    parts = [Forward(4, (), 0.0, 2, 8.0, 8.0)] * 2
    assert Timeline(parts, "none").next_cut(1.0) is None
    assert Timeline(parts, "chunk").next_cut(1.0) == (8.0, 0)
    assert Timeline(parts, "chunk").next_cut(8.5) is None


def test_layers_that_take_no_time_have_all_their_cuts_at_once() -> None:
    timeline = Timeline([Forward(4, (0.0, 0.0), 2.0, 3, 5.0, 5.0)], "block")
    assert timeline.next_cut(1.0) == (2.0, 0)
    assert timeline.next_cut(2.0, passed=4) == (2.0, 5)
    assert timeline.next_cut(2.5) is None


def test_checks_are_counted_as_overhead() -> None:
    parts = [Forward(4, (1.0,), 0.0, 2, 3.0, 2.5), Forward(4, (1.0,), 0.0, 2, 4.0, 2.0)]
    assert Timeline(parts, "layer").overhead_s == 2.5
    assert Timeline(parts[:1], "layer").overhead_s == 0.5
