"""A measurement is repeated until its median is sure."""

import pytest

from flowsim.calibration.measure.repeats import RepeatLimits, settled, typical


def test_repeating_stops_when_the_median_is_sure() -> None:
    assert settled([1.0] * 8)
    assert not settled([1.0] * 7)
    assert not settled([1.0, 2.0] * 10)
    steady, noisy = list[float](), list[float]()
    for _ in RepeatLimits(3, 50, 60.0).rounds(steady):
        steady.append(1.0)
    for i in RepeatLimits(3, 50, 60.0).rounds(noisy):
        noisy.append(float(i))
    assert (len(steady), len(noisy)) == (8, 50)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [([3.0], 3.0), ([1.0, 2.0], 1.5), ([9.0, 1.0, 2.0, 4.0], 3.0), ([1.0, 1.0, 1.0, 5.0, 5.0, 5.0, 5.0, 100.0], 4.0)],
)
def test_what_is_typical_is_the_mean_of_the_middle_half(samples: list[float], expected: float) -> None:
    assert typical(samples) == expected
