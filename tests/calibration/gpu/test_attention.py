from typing import Any

import pytest

from flowsim.calibration.gpu.attention import KERNELS, PADDING, math, working_kernels

torch = pytest.importorskip("torch")


def test_math_is_attention() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, n, PADDING + 40, 8, generator=generator, dtype=torch.float64) for n in (4, 2, 2))
    out = math(q, k, v, 3, 5, 12)
    for head in range(4):
        keys, values = k[0, head // 2, 3:20], v[0, head // 2, 3:20]
        for i in range(5):
            scores = (keys[: 13 + i] @ q[0, head, PADDING + i]) / 8**0.5
            assert torch.allclose(out[0, head, i], scores.softmax(0) @ values[: 13 + i])


def test_a_cpu_has_the_kernels_that_need_no_gpu() -> None:
    found = working_kernels(4, 2, 16, torch.device("cpu"), torch.float32)
    assert list(found) == list(KERNELS)
    assert found["math"] == found["sdpa"] == ""
    assert all(found[name] for name in ("cudnn", "flash", "split", "varlen"))


def test_a_kernel_that_computes_something_else_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"wrong": lambda q, k, v, start, tokens, context: math(q, k, v, 0, tokens, context)}
    monkeypatch.setattr("flowsim.calibration.gpu.attention.KERNELS", wrong)
    found = working_kernels(4, 2, 16, torch.device("cpu"), torch.float32)
    assert found["wrong"].startswith("differs from plain attention by ")


def test_split_is_attention_over_full_tiles_and_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    keys_seen = []

    def fused(q: Any, k: Any, v: Any, bias: None, lse: bool, dropout: float, causal: bool) -> tuple[Any, Any]:
        keys_seen.append(k.shape[2])
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
        scores = q @ k.mT / q.shape[3] ** 0.5
        if causal:
            scores = scores.masked_fill(torch.ones(scores.shape[2:]).triu(1).bool(), -torch.inf)
        return scores.softmax(-1) @ v, scores.logsumexp(-1)  # [1, heads, rows], as some versions of torch have it

    monkeypatch.setattr(torch.ops.aten._scaled_dot_product_cudnn_attention, "default", fused)
    found = working_kernels(4, 2, 16, torch.device("cpu"), torch.float32)
    assert found["split"] == found["cudnn"] == ""
    keys_seen.clear()
    x = torch.randn(1, 2, 1300, 16)
    KERNELS["split"](x, x, x, 5, 200, 777)
    KERNELS["split"](x, x, x, 5, 200, 100)
    assert keys_seen == [2 * PADDING, 6 * PADDING, 3 * PADDING]  # 9 tokens left and 200, then 768 before them; 300


@pytest.mark.parametrize("name", ["sdpa", "cudnn"])
def test_kernels_without_a_context_refuse_one(name: str) -> None:
    x = torch.zeros(1, 2, PADDING + 20 + PADDING, 16)
    with pytest.raises(ValueError, match="aligns its causal mask to the first key"):
        KERNELS[name](x, x, x, 0, 4, 16)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_a_chunk_has_a_fused_kernel() -> None:
    found = working_kernels(32, 8, 128, torch.device("cuda"), torch.bfloat16)
    assert not found["flash"], found
