"""The operators of a layer, and the segments between the checks of each cut level."""

from __future__ import annotations

import pytest

from flowsim.core.operators import CHECKED_AFTER, LAYER_OPERATORS, check_cut, segments
from flowsim.errors import InputError


def test_segments_end_where_the_level_checks() -> None:
    named = {cut: [[LAYER_OPERATORS[i] for i in part] for part in segments(cut)] for cut in CHECKED_AFTER}
    assert named["operator"] == [
        ["norm_attn", "qkv_proj"],
        ["rope_kv", "attention"],
        ["o_proj", "all_reduce_attn"],
        ["norm_mlp", "gate_up_proj", "router"],
        [
            *("activation", "down_proj", "experts", "dispatch", "expert_gate_up", "expert_activation", "expert_down"),
            *("combine", "all_reduce_mlp"),
        ],
    ]
    assert named["block"] == [list(LAYER_OPERATORS[:6]), list(LAYER_OPERATORS[6:])]
    assert named["layer"] == named["chunk"] == named["none"] == [list(LAYER_OPERATORS)]


def test_an_unknown_cut_is_refused_with_the_nearest_name() -> None:
    check_cut("operator")
    with pytest.raises(InputError, match=r"unknown cut 'oprator'; did you mean 'operator'\? \(known: block, chunk"):
        check_cut("oprator")
