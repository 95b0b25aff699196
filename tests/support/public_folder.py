"""A folder of public measurements like the package's, small enough to compute by hand."""

from __future__ import annotations

from pathlib import Path

from flowsim.calibration.costs.curves import work
from flowsim.calibration.costs.models import load_model

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
    rows = [f"1,{n},0,32,8,128,fa,{work(n, 0) * 1e-6}" for n in (1, 128, 1024, 8192)]
    header = "batch_size,isl,step,num_heads,num_key_value_heads,head_dim,kernel_source,latency_ms\n"
    (place / "context_attention.csv").write_text(header + "\n".join([*rows, "2,128,0,32,8,128,fa,9"]))
    (place / "toy_gpu.yaml").write_text(SYSTEM)
    return place


MODEL = load_model("llama3-8b")
"""The model whose operators the folder has."""
