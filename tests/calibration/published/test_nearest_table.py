import pytest
from msgspec.structs import replace

from flowsim.calibration.costs.models import load_model
from flowsim.calibration.published.nearest_table import nearest_own
from flowsim.errors import InputError


@pytest.mark.parametrize(
    ("model", "system", "nearest"),
    [
        ("qwen3-8b", "h100_sxm", "h100/qwen3-8b/tp1"),  # the model itself, on this GPU
        ("qwen3-8b", "h200_sxm", "h200/qwen3-8b/tp1"),
        ("qwen3-8b", "b200_sxm", "h100/qwen3-8b/tp1"),  # of equal GPUs the one with most rows
    ],
)
def test_it_is_of_the_model_on_the_system_s_gpu_or_of_the_one_with_most_rows(
    model: str, system: str, nearest: str
) -> None:
    assert nearest_own(load_model(model), system).provenance.rank().name == nearest


def test_a_model_of_its_own_has_the_table_of_the_most_similar_heads() -> None:
    spec = replace(load_model("llama3-8b"), name="mine")
    found = nearest_own(spec, "h200_sxm").provenance.rank().spec
    assert (found.heads, found.kv_heads, found.operators) == (spec.heads, spec.kv_heads, spec.operators)


def test_a_model_with_operators_that_nobody_measured_has_none() -> None:
    spec = replace(load_model("qwen3-30b-a3b"), name="mine", shared_intermediate=768)
    with pytest.raises(
        InputError, match=r"mine: no measured table is of a model with .*, head; expected a table scaled"
    ):
        nearest_own(spec, "h200_sxm")
