"""Merged traces, other mixes of classes, and rates by class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowsim
from flowsim.errors import InputError
from flowsim.traces import Blocks, Chats, Trace, merge, reweighted, with_rates
from flowsim.traces.combine import parse_mix


def classed(n=400, seed=0):
    rng = np.random.default_rng(seed)
    names = [("text", "search", "file", None)[i] for i in rng.integers(0, 4, n)]
    trace = Trace.of(np.cumsum(rng.exponential(0.5, n)), rng.integers(1, 5000, n), rng.integers(1, 99, n), names)
    blocks = Blocks.of(16, np.arange(2 * n), np.full(n, 2))
    return trace.derived("made", blocks=blocks, chats=Chats(np.arange(n), np.arange(n) - 1, np.full(n, 1)))


def counts(trace):
    return dict(zip((*trace.class_names, None), np.bincount(trace.class_code % 4, minlength=4).tolist(), strict=True))


def test_a_mix_has_exactly_its_shares_and_keeps_arrivals():
    trace = classed()
    mixed = reweighted(trace, {"text": 0.75, "search": 0.25})
    assert counts(mixed) == {**dict.fromkeys(trace.class_names, 0), "text": 300, "search": 100, None: 0}
    assert np.array_equal(mixed.arrival_s, trace.arrival_s)
    rows = set(zip(trace.class_code.tolist(), trace.input_length.tolist(), trace.output_length.tolist(), strict=True))
    assert set(zip(mixed.class_code.tolist(), mixed.input_length.tolist(), mixed.output_length.tolist())) <= rows  # noqa: B905


def test_the_fewest_requests_are_replaced_and_lose_their_prefixes():
    trace = classed()
    mixed = reweighted(trace, {"text": 0.75, "search": 0.25})
    changed = mixed.blocks.counts == 0
    before, after = counts(trace), counts(mixed)
    assert changed.sum() == sum(max(before[name] - after[name], 0) for name in before)
    assert np.array_equal(mixed.input_length[~changed], trace.input_length[~changed])
    assert (mixed.chats.chat_id[changed] == -1).all() and (mixed.chats.chat_id[~changed] >= 0).all()
    assert f"{changed.sum()} of 400 requests replaced" in mixed.notices[-1]


def test_its_own_shares_leave_a_trace_as_it_is():
    trace = flowsim.example_trace()
    same = reweighted(trace, {name: n / len(trace) for name, n in trace.describe()["classes"].items()}, seed=3)
    assert np.array_equal(same.input_length, trace.input_length)
    assert np.array_equal(same.class_code, trace.class_code)


def test_a_sweep_moves_few_requests_at_a_time():
    trace = flowsim.example_trace()
    mixes = [reweighted(trace, {"text": s, "search": 1 - s}) for s in (0.5, 0.51)]
    assert (mixes[0].input_length != mixes[1].input_length).sum() <= 3 * 0.01 * len(trace)


def test_one_number_moves_one_class_and_the_others_keep_their_proportions():
    trace = flowsim.example_trace().derived("made")  # 286 text, 24 image, 77 search, 13 file
    assert reweighted(trace, {"text": 0.5}).describe()["classes"] == {
        "text": 200,
        "image": 42,
        "search": 135,
        "file": 23,
    }
    assert reweighted(trace, {"text": 0.5, "file": 0}).describe()["classes"]["file"] == 0
    mixed = counts(reweighted(classed(4000), {"text": 0.5}))  # those without a class are others too
    assert mixed[None] == pytest.approx(2000 / 3, abs=60)


def test_a_sweep_over_a_mix_replaces_the_same_requests_and_more():
    trace = classed(400).derived("numbered", input_length=np.arange(1, 401))  # so that a stand-in is told by its length
    gone = [
        set(np.flatnonzero(reweighted(trace, {"text": share}).input_length != trace.input_length))
        for share in (0.2, 0.15, 0.1, 0.0)
    ]
    assert gone[0] < gone[1] < gone[2] < gone[3]


def test_draws_are_seeded():
    first, again, other = (reweighted(classed(), {"text": 0.9}, seed) for seed in (1, 1, 2))
    assert first.sha256 == again.sha256 != other.sha256


@given(st.lists(st.floats(0, 1), min_size=1, max_size=3), st.integers(1, 50))
def test_any_mix_comes_out(shares, n):
    trace = classed(n + 40)
    total = max(sum(shares), 1)
    mix = dict(zip(("text", "search", "file"), (share / total for share in shares), strict=False))
    mixed, before = counts(reweighted(trace, mix)), counts(trace)
    others = sum(n for name, n in before.items() if name not in mix)
    for name in before:
        share = mix.get(name, (1 - sum(mix.values())) * before[name] / others if name not in mix else 0)
        assert abs(mixed[name] - share * len(trace)) < 1 + 1e-6


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ({"txt": 1}, "mix: unknown class 'txt'; did you mean 'text'"),
        ({"text": -0.1}, r"mix: text must be from 0 to 1, got -0.1"),
        ({"text": float("nan")}, "mix: text must be from 0 to 1, got nan"),
        ({"text": 0.8, "search": 0.5}, "sum of the shares of the mix must be <= 1, got 1.3"),
    ],
)
def test_bad_mixes(mix, message):
    with pytest.raises(InputError, match=message):
        reweighted(classed(), mix)


def test_mixes_that_a_trace_cannot_have():
    with pytest.raises(InputError, match=r"must be 1, since no other class is left, got 0\.4"):
        reweighted(Trace.of([0, 1], [5, 5], classes=["a", "b"]), {"a": 0.3, "b": 0.1})
    with pytest.raises(InputError, match="trace: has no classes, so their mix cannot be changed"):
        reweighted(Trace.of([0, 1], [5, 5]), {"text": 0.5})


@pytest.mark.parametrize("text", ["text", "text=a", "=1", "text=1,text=0", "text=nan", ""])
def test_bad_text_of_mixes(text):
    with pytest.raises(InputError, match=r"^mix(:.* expected| must be) CLASS=SHARE pairs"):
        parse_mix(text)


def test_nothing_is_drawn_from_an_empty_class():
    trace = classed().head(1)
    with pytest.raises(InputError, match=r"has no request of class '.*' to draw from"):
        reweighted(trace, {trace.class_names[trace.class_code[0] - 1]: 0.9})


def test_rates_by_class():
    made = with_rates(classed(2000), {"text": 2.0, "file": 0.5})
    shares = counts(made)
    assert shares["text"] / made.span_s == pytest.approx(2.0, rel=0.01)
    assert shares["file"] / made.span_s == pytest.approx(0.5, rel=0.01)
    assert shares["search"] == shares[None] == 0
    with pytest.raises(InputError, match="class rates: unknown class 'chat'"):
        with_rates(classed(), {"chat": 2.0})


def test_merged_traces_keep_apart_what_is_different():
    one, other = classed(5), classed(7, seed=1)
    both = merge([one, other, Trace.of([0.0], [9])])
    assert len(both) == 13
    assert (np.diff(both.arrival_s) >= 0).all()
    assert both.blocks.tokens == 16 and np.unique(both.blocks.ids).size == 24
    known = both.chats.chat_id[both.chats.chat_id >= 0]
    assert np.unique(known).size == known.size == 12
    assert sum(both.describe()["classes"].values()) + both.describe()["without_class"] == 13
    parents = both.chats.parents()
    assert (parents >= 0).sum() == 4 + 6
    with pytest.raises(InputError, match="number of traces to merge must be >= 2, got 1"):
        merge([one])


def test_blocks_of_different_sizes_are_dropped_with_a_notice():
    one = classed(5)
    other = one.derived("made", blocks=Blocks.of(512, np.arange(5), np.ones(5, int)))
    assert merge([one, other]).blocks is None
    assert "prefix blocks of 16 tokens and of 512 do not go together: dropped" in merge([one, other]).notices


PARTS = {  # of one log in Azure's format
    "a.csv": "2023-11-16 18:00:00,100,5\n2023-11-16 18:00:10,200,5\n",
    "b.csv": "2023-11-16 18:00:05,300,5\n2023-11-16 18:00:20,400,5\n",
}


@pytest.fixture
def parts(tmp_path):
    for name, rows in PARTS.items():
        (tmp_path / name).write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}")
    return [tmp_path / name for name in PARTS]


def test_parts_with_dates_stay_as_far_apart_as_they_are(parts):
    """Cases W_merge_a and W_merge_b."""
    both, backwards = merge(parts), merge(parts[::-1])
    for merged in (both, backwards):
        assert merged.arrival_s.tolist() == [0, 5, 10, 20]
        assert merged.input_length.tolist() == [100, 300, 200, 400]
        assert str(np.datetime64(merged.start_ns, "ns")) == "2023-11-16T18:00:00.000000000"
    assert both.notices[-1] == "placed by their dates: a from 0 s, b from 5 s"
    third = Trace.of([0, 2], [7, 8], name="c").derived("dated", start_ns=both.start_ns - 3 * 10**9)
    assert merge([*parts, third]).arrival_s.tolist() == [0, 2, 3, 8, 13, 23]


def test_parts_start_together_on_request_and_where_a_date_is_missing(parts):
    together = merge(parts, by_date=False)
    assert together.arrival_s.tolist() == [0, 0, 10, 15] and together.start_ns is None
    assert together.notices[-1] == "the dates are not kept: all traces start together"
    undated = Trace.of([1, 2], [7, 8])
    assert merge([*parts, undated]).arrival_s.tolist() == [0, 0, 0, 1, 10, 15]
    assert "dates" not in merge([undated, undated]).notices[-1]
    with pytest.raises(InputError, match="trace: its dates are not known; expected dates, or a merge without"):
        merge([*parts, undated], by_date=True)


def test_slos_priorities_and_clients_stay_with_their_requests():
    one = Trace.of([0, 2], [5, 6], slo_s=[0.5, np.nan], priority=[3, 0], clients=["acme", "bolt"])
    other = Trace.of([1, 3], [7, 8], classes=["a", "b"], priority=[-1, 2], clients=["bolt", None])
    both = merge([one, other])
    assert both.client_names == ("acme", "bolt") and both.client_code.tolist() == [0, 1, 1, -1]
    assert both.priority.tolist() == [3, -1, 0, 2]
    assert np.array_equal(both.slo_s, [0.5, np.nan, np.nan, np.nan], equal_nan=True)
    named = Trace.of(
        np.arange(6), np.arange(6) + 1, classes=list("ababab"), priority=np.arange(6), clients=list("stuvwx")
    )
    mixed = reweighted(named, {"a": 1.0})
    assert (mixed.priority == mixed.input_length - 1).all()  # what replaces a request brings all its fields
    assert (mixed.client_code == mixed.priority).all()
    for made in (named.sample(3), named.window(2, 5), named.scaled(2).head(4)):
        assert (made.priority == made.input_length - 1).all() and (made.client_code == made.priority).all()
