"""Another mix of classes from a trace."""

from __future__ import annotations

import numpy as np
import pytest

from flowsim.errors import InputError
from flowsim.mix import remixed
from flowsim.traces.synthetic import synthesize
from flowsim.traces.trace import Trace

TRACE = synthesize(4000, 10.0, seed=1)


def shares(trace: Trace) -> dict[str, float]:
    counts = np.bincount(trace.class_code, minlength=len(trace.class_names)) / len(trace)
    return dict(zip(trace.class_names, counts.tolist(), strict=True))


def test_named_classes_get_their_share_and_the_others_what_is_left_as_before() -> None:
    before, after = shares(TRACE), shares(remixed(TRACE, {"text": 0.4}, seed=2))
    assert after["text"] == pytest.approx(0.4, abs=0.03)
    for name in ("image", "search", "file"):
        assert after[name] == pytest.approx(0.6 * before[name] / (1 - before["text"]), abs=0.03)
    assert shares(remixed(TRACE, {"text": 0.5, "search": 0.5}, seed=2)).keys() == before.keys()
    assert shares(remixed(TRACE, {"text": 1}, seed=2))["text"] == 1


def test_arrivals_stay_and_lengths_are_those_of_the_class() -> None:
    mixed = remixed(TRACE, {"text": 0.2}, seed=3)
    assert (mixed.arrival_s == TRACE.arrival_s).all()
    for code in range(len(TRACE.class_names)):
        own = TRACE.class_code == code
        pairs = set(zip(TRACE.input_length[own].tolist(), TRACE.output_length[own].tolist(), strict=True))
        mine = mixed.class_code == code
        assert set(zip(mixed.input_length[mine].tolist(), mixed.output_length[mine].tolist(), strict=True)) <= pairs
    assert "requests drawn anew by class, seed 3: text 0.2" in mixed.notices[-1]
    assert mixed.sha256 != TRACE.sha256


def test_draws_are_seeded_and_near_mixes_share_them() -> None:
    first, again = remixed(TRACE, {"text": 0.5}, seed=4), remixed(TRACE, {"text": 0.5}, seed=4)
    assert (first.input_length == again.input_length).all()
    assert (first.input_length != remixed(TRACE, {"text": 0.5}, seed=5).input_length).any()
    near = remixed(TRACE, {"text": 0.51}, seed=4)
    assert (near.class_code != first.class_code).mean() < 0.03


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ({"txt": 0.5}, "unknown class of synthetic-qwen in mix 'txt'; did you mean 'text'"),
        ({"text": -0.1}, "mix.text is -0.1, allowed is a share from 0 to 1"),
        ({"text": 0.8, "search": 0.5}, "the shares of the mix sum to 1.3, allowed is 1 at most"),
        ({"text": 0.1, "search": 0.1, "image": 0.1, "file": 0.1}, "sum to 0.4 and no class is left for the rest"),
    ],
)
def test_wrong_mixes(mix: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        remixed(TRACE, mix, seed=0)


def test_a_trace_without_classes_has_no_mix() -> None:
    with pytest.raises(InputError, match="trace has no classes"):
        remixed(Trace.of([0.0, 1.0], [5, 5]), {"text": 0.5}, seed=0)


def test_a_class_without_requests_cannot_be_drawn() -> None:
    part = Trace.of([0.0, 1.0, 2.0], [5, 6, 7], classes=["text", "text", "image"]).head(2)
    with pytest.raises(InputError, match="a class of the mix has no request here to draw from"):
        remixed(part, {"image": 0.5}, seed=0)
