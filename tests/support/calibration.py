"""A tiny model to measure in a moment, and a folder of public measurements, small enough to compute by hand."""

from pathlib import Path

import pytest

from flowsim.calibration.costs.curves import query_key_pairs
from flowsim.calibration.costs.models import ModelSpec, load_model

SPEC = ModelSpec("tiny", 2, 64, 4, 2, 16, 128, 97, 512, 10000.0, 1e-5)
"""Two layers, which a CPU runs in well under a millisecond."""


LLAMA = {
    "model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "max_position_embeddings": 131072,
    "rope_theta": 500000.0, "rms_norm_eps": 1e-05, "attention_bias": False, "tie_word_embeddings": False,
}  # fmt: skip
"""The config of a Llama, as Hugging Face has it."""


SYSTEM = """gpu:
  mem_bw: 2000000000000
  mem_bw_empirical_scaling_factor: 0.5
  mem_empirical_constant_latency: 0.000003
  mem_capacity: 85899345920
"""


def public_folder(place: Path) -> Path:
    """Products at 1 ps for each multiplication (2 ps where k is 16384), attention at 1 ns for each pair."""
    place.mkdir()
    shapes = [(n, k) for n in (4096, 6144, 16384, 65536) for k in (4096, 16384)]
    products = [f"{m},{n},{k},linear,{m * n * k * (1 + (k == 16384)) * 1e-9}" for m in (1, 64, 4096) for n, k in shapes]
    (place / "gemm.csv").write_text("m,n,k,kernel_source,latency_ms\n" + "\n".join(products))
    rows = [f"1,{n},0,32,8,128,fa,{query_key_pairs(n, 0) * 1e-6}" for n in (1, 128, 1024, 8192)]
    header = "batch_size,isl,step,num_heads,num_key_value_heads,head_dim,kernel_source,latency_ms\n"
    (place / "context_attention.csv").write_text(header + "\n".join([*rows, "2,128,0,32,8,128,fa,9"]))
    (place / "toy_gpu.yaml").write_text(SYSTEM)
    return place


MODEL = load_model("llama3-8b")
"""The model whose operators the folder has."""


def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page about a table has no drawings, which take seconds."""
    for name in ("curves_png", "residuals_png"):
        monkeypatch.setattr(f"flowsim.calibration.published.report.{name}", lambda *of: b"png")
