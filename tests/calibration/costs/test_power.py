"""A rested GPU is faster: its time warp, and what a table states about it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsim.calibration.costs.power import PowerModel, SpeedProfile
from flowsim.calibration.costs.provenance import PowerFit, Provenance
from flowsim.errors import InputError
from flowsim.io.schema import build
from support.reference.power import Heat

shares = st.floats(0.0, 1.0)
thresholds = st.one_of(st.floats(0.0, 0.99), st.sampled_from([0.0, 0.5]))
windows = st.sampled_from([1e-3, 0.04, 1.0, 100.0])
profiles = st.builds(SpeedProfile, windows, thresholds, st.floats(0.0, 2.0), st.one_of(shares, st.just(0.5)), shares)
spans = st.one_of(st.floats(1e-6, 1e3), st.just(0.0))
NEARLY = 1e-12


@given(profiles, spans)
def test_work_and_real_time_are_each_other_s_inverse(profile: SpeedProfile, seconds: float) -> None:
    assert profile.work_s(profile.real_s(seconds)) == pytest.approx(seconds, rel=NEARLY, abs=1e-15)
    assert profile.real_s(profile.work_s(seconds)) == pytest.approx(seconds, rel=NEARLY, abs=1e-15)


@given(profiles, spans, st.floats(1e-9, 1e3))
def test_time_goes_on_and_never_faster_than_on_a_idle_gpu(profile: SpeedProfile, seconds: float, more_s: float) -> None:
    for end_s, begin_s in ((profile.work_s(seconds), seconds), (seconds, profile.real_s(seconds))):
        assert begin_s * (1 - NEARLY) <= end_s <= begin_s * (1 + profile.gain) * (1 + NEARLY)
    assert profile.work_s(seconds + more_s) >= profile.work_s(seconds) + more_s * (1 - 1e-9) - NEARLY * seconds
    assert profile.real_s(seconds + more_s) >= profile.real_s(seconds) * (1 - NEARLY)


@given(profiles, st.floats(0.0, 100.0))
def test_work_is_the_sum_of_the_speed(profile: SpeedProfile, windows: float) -> None:
    slow = Heat(profile.window_s, profile.threshold, profile.use, share=profile.share, gain=profile.gain)
    seconds = windows * profile.window_s
    assert profile.work_s(seconds) == pytest.approx(slow.work_s(seconds), rel=1e-10)


@given(profiles, spans, spans)
def test_a_stretch_in_two_is_the_stretch_in_one(profile: SpeedProfile, first_s: float, second_s: float) -> None:
    later = SpeedProfile(profile.window_s, profile.threshold, profile.gain, profile.share, profile.use_after(first_s))
    whole_s = profile.work_s(first_s + second_s)
    assert profile.work_s(first_s) + later.work_s(second_s) == pytest.approx(whole_s, rel=1e-9)


@given(st.lists(st.tuples(spans, shares, spans), max_size=20), windows)
def test_use_stays_a_share(series: list[tuple[float, float, float]], window_s: float) -> None:
    boost, use = PowerModel(window_s, 0.7, lambda tokens: 0.08), 0.0
    for idle_s, share, real_s in series:
        use = boost.rested(use, idle_s)
        assert 0.0 <= use <= 1.0
        use = boost.profile(use, 100, share).use_after(real_s)
        assert 0.0 <= use <= 1.0


def test_without_gain_time_is_as_it_was() -> None:
    for use in (0.0, 0.3, 0.9):
        profile = SpeedProfile(1.0, 0.3, 0.0, 1.0, use)
        assert [profile.real_s(t) for t in (0.25, 0.3, 7.1)] == [0.25, 0.3, 7.1]


# The measurement that the model is from.

H200 = PowerModel(0.04, 0.7, lambda tokens: 0.085)


def test_it_tells_what_was_measured_at_steady_duty_cycles() -> None:
    """Passes of 29.9 ms, with pauses: what was measured is 1, 0.948, 0.925 and 0.919; 0.8 is told worst."""
    told = [relative(29.9e-3, duty) for duty in (1.0, 0.8, 0.6, 0.4)]
    assert told == pytest.approx([1.0, 0.948, 0.925, 0.919], abs=0.012)


def relative(pass_s: float, duty: float) -> float:
    use = 0.0
    for _ in range(200):
        profile = H200.profile(use, 1100)
        real_s = profile.real_s(pass_s)
        use = H200.rested(profile.use_after(real_s), real_s * (1 / duty - 1))
    return real_s / pass_s


# What a table states.

STATED = {"window_s": 0.04, "threshold": 0.7, "gain": [[256, -0.01], [1024, 0.08], [4096, 0.07]]}


def test_the_gain_is_on_straight_lines_and_constant_above() -> None:
    boost = PowerModel.of(build(PowerFit, STATED))
    assert boost is not None
    assert (boost.window_s, boost.threshold) == (0.04, 0.7)
    assert [boost.gain(n) for n in (1, 64, 256, 640, 1024, 4096, 10**6)] == pytest.approx(
        [0.0, 0.0, 0.0, 0.04, 0.08, 0.07, 0.07]
    )


def test_below_the_smallest_size_the_gain_falls_to_nothing_at_64_tokens() -> None:
    boost = PowerModel.of(build(PowerFit, {**STATED, "gain": [[264, 0.02]]}))
    assert boost is not None
    assert [boost.gain(n) for n in (1, 64, 164, 264, 300)] == pytest.approx([0.0, 0.0, 0.01, 0.02, 0.02])


@given(windows, thresholds, st.floats(1e-3, 0.9), st.floats(1e-3, 1.0))
def test_the_gain_of_a_recording_follows_from_how_long_it_takes_busy_and_rested(
    window_s: float, threshold: float, gain: float, busy_s: float
) -> None:
    """Also where the limit holds before a rested one has ended; unless it holds from the start."""
    rested_s = SpeedProfile(window_s, threshold, gain, 1.0, 0.0).real_s(busy_s)
    boost = PowerModel(window_s, threshold, lambda tokens: 0.0).with_recordings({64: (busy_s, rested_s)})
    assert boost.recorded_gain is not None
    assert boost.recorded_gain(64) == pytest.approx(gain, rel=1e-5)


def test_between_recordings_the_gain_is_on_straight_lines_and_one_that_loses_gains_nothing() -> None:
    boost = PowerModel(1e9, 0.5, lambda tokens: 0.0).with_recordings({256: (0.011, 0.010), 64: (0.010, 0.011)})
    assert boost.recorded_gain is not None
    assert [boost.recorded_gain(n) for n in (1, 64, 160, 256, 2048)] == pytest.approx([0, 0, 0.05, 0.1, 0.1])
    assert (boost.window_s, boost.threshold, boost.gain(64)) == (1e9, 0.5, 0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        7,
        {},
        {**STATED, "window_s": 0},
        {**STATED, "window_s": float("nan")},
        {**STATED, "window_s": "long"},
        {**STATED, "threshold": 1.0},
        {**STATED, "threshold": -0.1},
        {**STATED, "gain": []},
        {**STATED, "gain": 0.1},
        {**STATED, "gain": [[256]]},
        {**STATED, "gain": [[256, 0.1], [256, 0.2]]},
        {**STATED, "gain": [[0, 0.1]]},
        {**STATED, "gain": [[256, 1.0]]},
        {**STATED, "gain": [[256, True]]},
        {**STATED, "gain": [[256, float("nan")]]},
        {**STATED, "power_w": 700},
    ],
)
def test_a_wrong_boost_is_one_line(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"^boost[^\n]*$"):
        Provenance.of({"boost": wrong})
