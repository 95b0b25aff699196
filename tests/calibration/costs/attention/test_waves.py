"""Attention on context between measured sizes: whole waves of tiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from flowsim.calibration.costs.attention.waves import Waves
from flowsim.calibration.costs.curves import AttentionCurve, quantized_work
from flowsim.calibration.costs.models import load_model
from flowsim.calibration.costs.provenance import Provenance

FAR = 10**9
"""A context beside which a chunk's own tokens are nothing."""


def test_waves_are_of_tiles_of_128_queries() -> None:
    waves = Waves(40, 132)
    # 3 tiles of 40 heads are 120 of 132; 4 are 160, of 264; 24 are 960, of 8 waves, which 26 fill as well.
    assert [waves.quantized(tokens) for tokens in (1, 384, 385, 512)] == pytest.approx([1, 384, 844.8, 844.8])
    assert [waves.quantized(tokens) for tokens in (3000, 3328, 3329)] == pytest.approx([3379.2, 3379.2, 3801.6])
    assert quantized_work([2, 512], 10, waves).tolist() == pytest.approx([2 * 10 + 3, 8448 + 512 * 513 / 2])
    assert quantized_work([2, 512], 0, waves).tolist() == quantized_work([2, 512], 0, None).tolist()


@given(st.integers(1, 64), st.integers(1, 200), st.integers(1, 30000))
def test_the_waves_have_room_for_all_and_all_but_one_are_full(heads: int, multiprocessors: int, tokens: int) -> None:
    filled, one = Waves(heads, multiprocessors).quantized(tokens), multiprocessors * 128 / heads
    assert tokens <= filled * (1 + 1e-9)
    assert filled < tokens + 128 + one


def test_a_chunk_on_context_waits_for_full_waves_between_measured_sizes() -> None:
    sizes = np.array([2048, 4096])
    curve = AttentionCurve(sizes, np.full(2, FAR), np.array([5.0, 10.0]), Waves(40, 132))  # a second a wave
    assert [curve(tokens, FAR) for tokens in (2048, 2112, 3000, 4096)] == pytest.approx([5, 6, 8, 10], rel=1e-5)


def test_of_sizes_that_fill_one_wave_the_largest_counts() -> None:
    """For what one of them is off would be the slope from there on."""
    sizes = np.array([2048, 3000, 3300])
    curve = AttentionCurve(sizes, np.full(3, FAR), np.array([5.0, 7.9, 8.0]), Waves(40, 132))
    assert [curve(tokens, FAR) for tokens in (3000, 3300, 8192)] == pytest.approx([8, 8, 20], rel=1e-4)


def test_a_table_says_in_which_waves_its_gpu_takes_its_heads() -> None:
    spec = load_model("qwen2.5-14b")
    about = {"model_spec": structs.asdict(spec), "tp": 2, "multiprocessors": 132}
    assert Waves.of(Provenance.of(about)) == Waves(20, 132)
    for other in (
        {"multiprocessors": None},
        {"model_spec": structs.asdict(structs.replace(spec, head_dim=256))},  # whose tiles are smaller
    ):
        assert Waves.of(Provenance.of({**about, **other})) is None
