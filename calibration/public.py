"""Public measurements of operators: those of the PyPI package aiconfigurator-core (NVIDIA, Apache-2.0).

For each system (a100_sxm, h100_sxm, h200_sxm, b200_sxm, ...) and serving framework it holds Parquet tables of matrix
products, causal attention, mixtures of experts and NCCL's collectives, in milliseconds a call, and a YAML file of the
system's memory and bandwidth. A folder of CSV files with the same columns is read too.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from flowsim.errors import InputError, unknown

if TYPE_CHECKING:
    import pandas as pd

PACKAGE = "aiconfigurator_core"
FRAMEWORKS = ("vllm", "sglang", "trtllm")


@dataclass(frozen=True, eq=False)
class Source:
    """Public measurements of one system.

    `name` says where they come from. `gemm` has columns m, n, k, kernel_source, latency (milliseconds); `attention`
    isl, num_heads, num_key_value_heads, head_dim, kernel_source, latency, one sequence each; `moe` and `reduce` are
    None where there are none. `bandwidth` is what a kernel reaches of the memory's, bytes a second, and `launch_s` what
    each kernel takes at least, both as the package has them.
    """

    name: str
    system: str
    gemm: pd.DataFrame
    attention: pd.DataFrame
    moe: pd.DataFrame | None
    reduce: pd.DataFrame | None
    memory_bytes: int
    bandwidth: float
    launch_s: float


def package_source(system: str, framework: str = "vllm") -> Source:
    """The measurements of this system in the installed package, under the newest version of a serving framework.

    InputError: the package is not installed, or has no such system or framework.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise InputError("aiconfigurator-core is not installed: pip install 'flowsim[import]'")
    systems = Path(spec.submodule_search_locations[0]) / "systems"
    known = [f.stem for f in systems.glob("*.yaml") if (systems / "data" / f.stem / "gemm").is_dir()]
    if system not in known:
        raise unknown("system", system, known)
    data = systems / "data" / system
    there = [name for name in FRAMEWORKS if (data / "gemm" / name).is_dir() and (data / "attention" / name).is_dir()]
    if framework not in there:
        raise unknown(f"framework on {system}", framework, there)
    gemm = _newest(data / "gemm" / framework)
    name = f"aiconfigurator-core {version('aiconfigurator-core')}, {system}, {framework} {gemm.name}"
    return _source(
        name, system, (systems / f"{system}.yaml").read_text(encoding="utf-8"),
        gemm / "gemm_perf.parquet",
        _newest(data / "attention" / framework) / "context_attention_perf.parquet",
        _newest(data / "moe" / framework) / "moe_perf.parquet",
        _newest(data / "comm" / "nccl") / "nccl_perf.parquet",
    )  # fmt: skip


def folder_source(folder: str | Path) -> Source:
    """The measurements in a folder of gemm*.csv[.gz], context_attention*.csv[.gz] and SYSTEM.yaml.

    Columns are the package's; `latency_ms` may stand for latency. InputError: a file is missing.
    """
    root = Path(folder)
    found = [sorted(root.glob(pattern)) for pattern in ("gemm*.csv*", "context_attention*.csv*", "*.yaml")]
    if not all(found):
        raise InputError(f"{root}: allowed is a folder with gemm*.csv, context_attention*.csv and SYSTEM.yaml")
    gemm, attention, about = (files[0] for files in found)
    text = about.read_text(encoding="utf-8")
    return _source(f"{gemm.name} and {attention.name}", about.stem, text, gemm, attention, None, None)


def _source(
    name: str, system: str, about: str, gemm: Path, attention: Path, moe: Path | None, reduce: Path | None
) -> Source:
    gpu = yaml.safe_load(about)["gpu"]
    one = _read(attention, attn_dtype="bfloat16", kv_cache_dtype="bfloat16", window_size=0, batch_size=1, step=0)
    return Source(
        name,
        system,
        _read(gemm, gemm_dtype="bfloat16"),
        one,
        _read(moe, moe_dtype="bfloat16", moe_ep_size=1) if moe and moe.exists() else None,
        _read(reduce, op_name="all_reduce", nccl_dtype="half") if reduce and reduce.exists() else None,
        int(gpu["mem_capacity"]),
        float(gpu["mem_bw"] * gpu["mem_bw_empirical_scaling_factor"]),
        float(gpu["mem_empirical_constant_latency"]),
    )


def _read(path: Path, **wanted: Any) -> pd.DataFrame:
    """A table's rows with these values, in those of the columns that it has."""
    import pandas as pd

    frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    frame = frame.rename(columns={"latency_ms": "latency"})
    for column, value in wanted.items():
        if column in frame.columns:
            frame = frame[frame[column] == value]
    return frame


def _newest(folder: Path) -> Path:
    """The folder of the newest version in this one; one that does not exist if there is none."""
    versions = [path for path in folder.glob("*") if path.is_dir()]
    return max(versions, key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)], default=folder / "none")


def of_shape(frame: pd.DataFrame, **shape: int) -> Mapping[int, tuple[float, str]]:
    """Seconds and kernel by size (m or isl) of the rows of this shape, the fastest kernel each; empty if none."""
    size = "m" if "m" in frame.columns else "isl"
    for column, value in shape.items():
        frame = frame[frame[column] == value]
    best = frame.sort_values("latency").drop_duplicates(size).sort_values(size)
    rows = zip(best[size], best["latency"], best["kernel_source"], strict=True)
    return {int(at): (float(ms) * 1e-3, str(kernel)) for at, ms, kernel in rows}
