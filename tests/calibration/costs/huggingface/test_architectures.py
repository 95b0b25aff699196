"""What absent keys mean is what transformers says."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from flowsim.calibration.costs.huggingface.architectures import ARCHITECTURES, KEYS, NEEDED
from flowsim.calibration.costs.models import load_model

STATED = {"glm4_moe": {"head_dim": 128}}
"""What every published config of an architecture states, and has no default that works."""


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_sizes_alone_mean_what_transformers_writes_in_full(kind: str, tmp_path: Path) -> None:
    configs = pytest.importorskip("transformers").CONFIG_MAPPING
    given = ({"sliding_window": 1000} if ARCHITECTURES[kind].every else {}) | STATED.get(kind, {})
    full = configs[kind](**given).to_dict()
    known = {**KEYS, **ARCHITECTURES[kind].keys}
    sizes = {key: full[key] for field in NEEDED for key in known[field] if key in full}
    window = {"sliding_window": 1000} if full.get("sliding_window") else {}
    specs = []
    for name, config in {
        "full": full,
        "sizes": {"model_type": kind, **STATED.get(kind, {}), **sizes, **window},
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        specs.append(replace(load_model(tmp_path / name), name="any"))
    assert specs[0] == specs[1]
