"""The machine that measures: its name, and what it is too small for."""

import sys

import pytest
from msgspec.structs import replace

from flowsim.calibration.costs.models import load_model
from flowsim.calibration.gpu.machine import short_name
from flowsim.calibration.measure.calibrate import calibrate
from flowsim.errors import InputError
from support.calibration import SPEC

torch = pytest.importorskip("torch")


def test_without_torch_or_gpu_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="unknown device 'gpu'"):
        calibrate(SPEC, device="gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="device: no CUDA GPU was found; expected a machine with one"):
        calibrate(SPEC)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"torch: is needed to measure: pip install 'flowsim\[calibrate\]'"):
        calibrate(SPEC)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("NVIDIA H200", "h200"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100-sxm4-80gb"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA GeForce RTX 4090", "geforce-rtx-4090"),
        ("CPU", "cpu"),
    ],
)
def test_a_table_is_named_by_its_gpu_s_short_name(name: str, short: str) -> None:
    assert short_name(name) == short


def test_a_cpu_is_for_small_models() -> None:
    message = "llama3-8b: has 29.9 GiB of weights in float32; expected <= 16.0 GiB on a CPU, which is only to try out"
    with pytest.raises(InputError, match=message):
        calibrate(load_model("llama3-8b"), device="cpu")


@pytest.mark.parametrize(
    ("model", "weights", "lacking"),
    [
        ("llama3-8b", "fp8_dynamic", "weights in fp8_dynamic"),
        ("llama3-8b", "fp8_block", "weights in fp8_block"),
        ("qwen3-30b-a3b", "fp8", "experts in FP8"),
    ],
)
def test_what_of_fp8_is_not_measured_is_named(model: str, weights: str, lacking: str) -> None:
    with pytest.raises(InputError, match=f"{model}: has {lacking}, which are not measured; expected"):
        calibrate(replace(load_model(model), weights=weights), device="cpu")
