"""The trace: what it checks, keeps and gives back."""

import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsim.errors import InputError
from flowsim.traces import Trace
from support.traces import small

COLUMNS = ("arrival_s", "input_length", "output_length", "class_code")


def rows(trace):
    return list(zip(*(getattr(trace, column).tolist() for column in COLUMNS), strict=True))


def test_columns_are_kept_and_classes_numbered():
    trace = small()
    assert rows(trace) == [(0.0, 100, 1, 0), (1.0, 200, 0, 1), (2.0, 300, 3, -1), (4.0, 400, 4, 0)]
    assert trace.class_names == ("text", "file")
    assert [getattr(trace, column).dtype.str[1:] for column in COLUMNS] == ["f8", "i8", "i8", "i8"]
    assert (len(trace), trace.span_s, trace.rate_rps, trace.notices) == (4, 4.0, 0.75, ())


def test_unsorted_and_late_starts_are_put_right_and_noticed():
    trace = Trace.of([7, 5, 5, 6], [1, 2, 3, 4], classes=["a", "b", "c", "a"])
    assert rows(trace) == [(0.0, 2, 0, 1), (0.0, 3, 0, 2), (1.0, 4, 0, 0), (2.0, 1, 0, 0)]
    assert trace.notices == (
        "sorted by arrival: 1 request had an earlier time than the one before",
        "shifted by 5 s, so that the first arrival is at 0 s",
    )


def test_a_trace_cannot_be_changed_even_after_pickling():
    for trace in (small(), pickle.loads(pickle.dumps(small())), small().head(2), small().scaled(2)):
        with pytest.raises(ValueError, match="read-only"):
            trace.arrival_s[0] = 1
        with pytest.raises(FrozenInstanceError):
            trace.name = "other"


def test_the_caller_keeps_arrays_of_his_own():
    arrival = np.array([0.0, 1.0])
    trace = Trace.of(arrival, [1, 2])
    arrival[0] = 0.5
    assert trace.arrival_s[0] == 0.0


def test_scaled_compresses_every_gap_by_the_same_factor():
    trace = small().scaled(2)
    assert trace.arrival_s.tolist() == [0.0, 0.5, 1.0, 2.0]
    assert trace.rate_rps == 1.5
    assert trace.input_length.tolist() == [100, 200, 300, 400]
    assert trace.notices == (f"rate scaled by 2 (of the trace with SHA-256 {small().sha256[:12]})",)


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf")])
def test_scaled_rejects_bad_factors(factor):
    with pytest.raises(InputError, match=r"rate factor must be finite and > 0, with all times <= 2\*\*40 s, got "):
        small().scaled(factor)


def test_one_instant_has_no_rate():
    assert np.isnan(Trace.of([3, 3], [1, 1]).rate_rps)


def test_head_and_window_start_at_zero():
    assert rows(small().head(2)) == rows(small())[:2]
    assert len(small().head(9)) == 4
    window = small().window(1, 4)
    assert (window.arrival_s.tolist(), window.input_length.tolist()) == ([0.0, 1.0], [200, 300])
    with pytest.raises(InputError, match="number of requests to keep must be >= 1, got 0"):
        small().head(0)
    for start, end in ((2, 1), (1, 1), (float("nan"), 1)):
        with pytest.raises(InputError, match="window must be FROM:TO in seconds, with FROM < TO, got '"):
            small().window(start, end)
    for start, end in ((2.5, 4), (5, 6)):
        with pytest.raises(InputError, match=r"small: no request arrives from .*; expected a window within 0 to 4 s"):
            small().window(start, end)


def test_the_hash_follows_the_columns():
    assert small().sha256 == small().sha256
    others = [small().head(3), small().scaled(2), small().window(0, 3), Trace.of([0, 1, 2, 4], [100, 200, 300, 400])]
    assert len({trace.sha256 for trace in (small(), *others)}) == 4  # head(3) and window(0, 3) hold the same
    assert small().head(3).sha256 == small().window(0, 3).sha256


TIMES = st.floats(0, 1e6, allow_nan=False)


ROWS = st.tuples(TIMES, st.integers(1, 2**40), st.integers(0, 2**40), st.sampled_from([None, "text", 'ï "q"\n']))


@given(st.lists(ROWS, min_size=1, max_size=40))
def test_invariants_hold_whatever_the_order(table):
    trace = Trace.of(*zip(*table, strict=True))
    assert len(trace) == len(table)
    assert trace.arrival_s[0] == 0
    assert (np.diff(trace.arrival_s) >= 0).all()
    assert sorted(trace.input_length) == sorted(row[1] for row in table)


def test_a_million_rows_stay_small():
    trace = Trace.of(np.arange(1_000_000) / 7, np.full(1_000_000, 512))
    assert sum(getattr(trace, column).nbytes for column in COLUMNS) == 32_000_000
    assert trace.scaled(9).rate_rps == pytest.approx(63)


def test_slos_priorities_and_clients_are_columns():
    trace = Trace.of([3, 1], [5, 6], slo_s=[np.nan, 0.5], priority=[1, 2], clients=["b", "a"])
    assert (trace.priority.tolist(), trace.client_names, trace.client_code.tolist()) == ([2, 1], ("b", "a"), [1, 0])
    assert np.array_equal(trace.slo_s, [0.5, np.nan], equal_nan=True)
    assert [trace.has(name) for name in ("slo_s", "priority", "client_code")] == [True] * 3
    assert list(trace.to_frame()) == [
        "arrival_s",
        "input_length",
        "output_length",
        "class",
        "slo_s",
        "priority",
        "client",
    ]
    assert not trace.slo_s.flags.writeable
    again = pickle.loads(pickle.dumps(trace))
    assert again.sha256 == trace.sha256 and again.client_names == trace.client_names


def test_a_trace_without_them_is_as_it_was():
    plain = Trace.of([0, 1], [5, 6])
    assert np.isnan(plain.slo_s).all() and plain.priority.tolist() == [0, 0] and plain.client_code.tolist() == [-1, -1]
    assert not any(plain.has(name) for name in ("slo_s", "priority", "client_code"))
    assert Trace.of([0, 1], [5, 6], slo_s=[np.nan] * 2, priority=[0, 0], clients=[None, None]).sha256 == plain.sha256
    hashes = {
        Trace.of([0, 1], [5, 6], **{name: value}).sha256
        for name, value in {
            "slo_s": [1.0, 1.0],
            "priority": [1, 1],
            "clients": ["a", "a"],
            "classes": ["a", "a"],
        }.items()
    }
    assert len(hashes | {plain.sha256}) == 5


def test_a_trace_of_one_instant_says_so():
    assert repr(Trace.of([0, 0], [5, 6])) == "Trace('trace', 2 requests, all at one instant)"
    assert repr(Trace.of([0], [5])) == "Trace('trace', 1 request)"
    assert repr(Trace.of([0, 2], [5, 6])) == "Trace('trace', 2 requests, 2 s, 0.5 req/s)"
