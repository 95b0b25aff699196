import pytest

from flowsim.calibration.gpu.fp8 import LARGEST_E4M3, fp8_product, fp8_weight

torch = pytest.importorskip("torch")


def test_fp8_weights_come_back_by_their_scale() -> None:
    weight = torch.randn(32, 64, generator=torch.Generator().manual_seed(0))
    quantised, scale = fp8_weight(weight)
    assert float(quantised.float().abs().max()) == LARGEST_E4M3
    assert torch.allclose(quantised.float() * scale, weight, rtol=1 / 16, atol=float(scale) / 512)


def test_a_product_is_that_of_the_cast_activations_and_adds_its_bias() -> None:
    draw = torch.Generator().manual_seed(1)
    x, weight, bias = (torch.randn(*shape, generator=draw) for shape in ((16, 64), (32, 64), (32,)))
    quantised, scale = fp8_weight(weight)
    expected = x.to(torch.float8_e4m3fn).float() @ (quantised.float() * scale).t()
    out = torch.empty(16, 32)
    assert torch.allclose(fp8_product(quantised, scale)(x, out), expected, atol=1e-4)
    assert torch.allclose(out, expected, atol=1e-4)
    assert torch.allclose(fp8_product(quantised, scale, bias)(x), expected + bias, atol=1e-4)
