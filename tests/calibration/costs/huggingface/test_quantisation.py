"""Which parts of a checkpoint in FP8 may stay in bf16."""

from typing import Any

import pytest

from flowsim.calibration.costs.huggingface.quantisation import weights_of
from flowsim.errors import InputError


def config(*left_out: str) -> dict[str, Any]:
    how = {"quant_method": "fp8", "activation_scheme": "dynamic", "modules_to_not_convert": list(left_out)}
    return {"quantization_config": how}


@pytest.mark.parametrize(
    "name",
    [
        "lm_head", "model.layers.3.input_layernorm", "re:.*mlp.gate$", "mlp.shared_expert_gate", "visual.mlp",
        "model.layers.9.self_attn.q_proj.bias", "model.layers.46.eh_proj",
    ],
)  # fmt: skip
def test_norms_routers_heads_and_other_parts_may_be_left_out(name: str) -> None:
    assert weights_of("config.json", config(name)) == "fp8_dynamic"


@pytest.mark.parametrize(
    "name", ["model.layers.0.self_attn", "re:.*self_attn.*", "model.layers.0.mlp", "q_proj", "mlp.experts"]
)
def test_matrices_may_not(name: str) -> None:
    with pytest.raises(InputError, match=r"config\.json: quantization_config leaves out "):
        weights_of("config.json", config("lm_head", name))
