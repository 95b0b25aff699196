"""Public measurements of operators: those of the PyPI package aiconfigurator-core (NVIDIA, Apache-2.0).

For each system (a100_sxm, h100_sxm, h200_sxm, b200_sxm, ...) and serving framework it holds Parquet tables of matrix
products, causal attention, mixtures of experts and NCCL's collectives, in milliseconds per call, and a YAML file with
the system's memory and bandwidth. A folder of files with the same columns is read as well.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct

from flowsim.calibration.costs.models import LARGEST, as_yaml_number, check_table_name
from flowsim.errors import InputError, unknown
from flowsim.io.counts import number_of
from flowsim.io.documents import mapping
from flowsim.io.schema import MOST, Amount, build, hints

if TYPE_CHECKING:
    import pandas as pd

PACKAGE = "aiconfigurator_core"
FRAMEWORKS = ("vllm", "sglang", "trtllm")
GEMM, ATTENTION = "gemm_perf.parquet", "context_attention_perf.parquet"
SCALES = "computescale_perf.parquet"
QUANTISED: Mapping[str, str] = {"fp8": "fp8", "fp8_dynamic": "fp8", "fp8_block": "fp8_block"}
"""The package's name of each type of weights (`ModelSpec.weights`). Its products in FP8 include the cast of the
activations to scales that are computed as they come; for static scales, that is in a table of its own."""
LEAST_LEFT = 0.1
"""The least share of such a product that is left without the time of the scales."""
ONE_PROMPT: Mapping[str, str | int] = {
    "attn_dtype": "bfloat16", "kv_cache_dtype": "bfloat16", "window_size": 0, "batch_size": 1, "step": 0,
}  # fmt: skip
SUFFIXES = (".csv", ".csv.gz", ".parquet")
LONGEST_MS = 10**9
"""Bound of times; a table holds them in microseconds."""
REPEATS = 2.0
"""Rows of the same size and kernel may differ by this factor: they were measured repeatedly, and the fastest counts.

The package has such rows (attention on the A100, experts of sglang), mostly within 1 %, at most by 1.55. Beyond this
factor they contradict each other."""


class SystemFacts(Struct, frozen=True):
    """What a system's YAML file states under `gpu`: bytes, bytes per second, a share of that, seconds."""

    mem_capacity: Annotated[float, Meta(ge=1, le=MOST)]
    mem_bw: Annotated[float, Meta(ge=1, le=MOST)]
    mem_bw_empirical_scaling_factor: Annotated[float, Meta(ge=0.001, le=MOST)]
    mem_empirical_constant_latency: Amount


@dataclass(frozen=True, eq=False)
class Source:
    """Public measurements of one system.

    Attributes:
        name: where they come from.
        system: the name of the system.
        gemm: matrix products, with columns m, n, k, kernel_source, latency (milliseconds).
        attention: causal attention of one sequence, with columns isl, num_heads, num_key_value_heads, head_dim,
            kernel_source, latency.
        quantised: matrix products in other types of weights (`QUANTISED`), as far as they were measured.
        moe: mixtures of experts by type of weights, as far as they were measured.
        reduce: all-reduces; None if there are none.
        memory_bytes: of the GPU.
        bandwidth: the memory bandwidth that kernels reach, bytes per second, as the package states it.
        launch_s: the least that any kernel takes, as the package states it.
        framework: the serving framework whose kernels were measured, if that is known.
    """

    name: str
    system: str
    gemm: pd.DataFrame
    attention: pd.DataFrame
    quantised: Mapping[str, pd.DataFrame]
    moe: Mapping[str, pd.DataFrame]
    reduce: pd.DataFrame | None
    memory_bytes: int
    bandwidth: float
    launch_s: float
    framework: str | None = None


def package_source(system: str, framework: str = "vllm") -> Source:
    """The measurements of this system in the installed package, under the newest version of a serving framework.

    InputError: the package is not installed, or has no such system or framework.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise InputError("aiconfigurator-core", "is not installed: pip install 'flowsim[import]'")
    systems = Path(spec.submodule_search_locations[0]) / "systems"
    known = [f.stem for f in systems.glob("*.yaml") if (systems / "data" / f.stem / "gemm").is_dir()]
    if system not in known:
        raise unknown("system", system, known, where="system")
    data = systems / "data" / system
    gemms = {name: _newest(data / "gemm" / name, GEMM) for name in FRAMEWORKS}
    attentions = {name: _newest(data / "attention" / name, ATTENTION) for name in FRAMEWORKS}
    gemm, attention = gemms.get(framework), attentions.get(framework)
    if gemm is None or attention is None:
        there = [name for name in FRAMEWORKS if gemms[name] and attentions[name]]
        raise unknown("framework", framework, there, f"on {system}", where="framework")
    name = f"aiconfigurator-core {version('aiconfigurator-core')}, {system}, {framework} {gemm.parent.name}"
    more = {
        "scales": _newest(data / "quantize" / framework, SCALES),
        "moe": _newest(data / "moe" / framework, "moe_perf.parquet"),
        "reduce": _newest(data / "comm" / "nccl", "nccl_perf.parquet"),
    }
    return replace(_source(name, systems / f"{system}.yaml", gemm, attention, **more), framework=framework)


def folder_source(folder: str | Path) -> Source:
    """The measurements in a folder of one gemm*, one context_attention* (.csv, .csv.gz or .parquet) and SYSTEM.yaml.

    Columns are the package's; `latency_ms` may stand for latency.

    Raises:
        InputError: a file is missing, there are several of one kind, or a file's content is wrong.
    """
    root = Path(folder)
    gemm, attention = (_only(root, f"{name}*", SUFFIXES) for name in ("gemm", "context_attention"))
    about = _only(root, "*.yaml", (".yaml",))
    check_table_name(f"{about}: name of the system", about.stem)
    return _source(f"{gemm.name} and {attention.name}", about, gemm, attention)


def _only(root: Path, pattern: str, suffixes: tuple[str, ...]) -> Path:
    """The one file of this kind in a folder."""
    found = sorted(path for path in root.glob(pattern) if path.name.endswith(suffixes))
    if not found:
        expected = "a folder with gemm*.csv, context_attention*.csv and SYSTEM.yaml"
        raise InputError(str(root), f"has no {pattern}", expected=expected)
    if len(found) > 1:
        raise InputError(str(root), f"holds {found[0].name} and {found[1].name}", expected=f"one {pattern}")
    return found[0]


def _source(
    name: str, about: Path, gemm: Path, attention: Path, *,
    scales: Path | None = None, moe: Path | None = None, reduce: Path | None = None,
) -> Source:  # fmt: skip
    facts = _facts(about)
    heads, group = ("num_heads", "num_key_value_heads", "head_dim"), ("num_gpus", "message_size")
    return Source(
        name,
        about.stem,
        _some(gemm, _read(gemm, "m", "n", "k", gemm_dtype="bfloat16")),
        _some(attention, _read(attention, "isl", *heads, **ONE_PROMPT)),
        quantised(gemm, scales),
        {} if moe is None else _experts(moe),
        None if reduce is None else _read(reduce, *group, op_name="all_reduce", nccl_dtype="half"),
        int(facts.mem_capacity),
        facts.mem_bw * facts.mem_bw_empirical_scaling_factor,
        facts.mem_empirical_constant_latency,
    )


def quantised(gemm: Path, scales: Path | None) -> dict[str, pd.DataFrame]:
    """Matrix products by type of weights; with static scales, without the time that computing them takes.

    The two were timed apart, and for a few products of the L40S the rest would be negative: LEAST_LEFT of them stays.
    """
    frames = {weights: _read(gemm, "m", "n", "k", gemm_dtype=name) for weights, name in QUANTISED.items()}
    frames = {weights: frame for weights, frame in frames.items() if "gemm_dtype" in frame.columns and len(frame)}
    if scales is not None and "fp8" in frames:
        computed = _cells(scales).groupby(["m", "k"])["latency"].min().rename("computed")
        product = frames["fp8"].join(computed, on=["m", "k"])
        static = product["latency"] - product["computed"].fillna(0.0)
        frames["fp8"] = product.assign(latency=static.clip(lower=LEAST_LEFT * product["latency"]))
    return frames


def _experts(path: Path) -> dict[str, pd.DataFrame]:
    """Mixtures of experts by type of weights."""
    sizes = ("num_tokens", "hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size")
    names = {"bf16": "bfloat16", **QUANTISED}
    frames = {weights: _read(path, *sizes, moe_dtype=name, moe_ep_size=1) for weights, name in names.items()}
    return {weights: frame for weights, frame in frames.items() if len(frame)}


def _facts(path: Path) -> SystemFacts:
    gpu = mapping(path).get("gpu")
    used = {key: value for key, value in gpu.items() if key in hints(SystemFacts)} if isinstance(gpu, dict) else gpu
    try:
        return build(SystemFacts, {} if used is None else used)
    except InputError as error:
        where = f"gpu.{error.where}" if error.where else "gpu"
        raise as_yaml_number(error.at(f"{path}: {where}")) from None


def _read(path: Path, *sizes: str, **wanted: str | int) -> pd.DataFrame:
    """A table's rows with these values, in those of the columns that it has.

    Raises:
        InputError: it cannot be read or lacks a column; or a row has a size that is not a whole number, a latency that
            is not a time, or contradicts another row.
    """
    frame = _cells(path)
    time = "latency" if "latency" in frame.columns else "latency_ms"
    kinds = [column for column in ("distribution", "kernel_source") if column in frame.columns]
    if missing := [column for column in (*sizes, "kernel_source", time) if column not in frame.columns]:
        raise InputError(str(path), f"lacks the columns {', '.join(missing)}")
    for column in frame.columns[frame.columns.duplicated()]:
        raise InputError(f"{path}: row 1", f"the column {column!r} is repeated")
    for column, value in wanted.items():
        if column in frame.columns:
            cells = frame[column] if isinstance(value, str) else _numbers(path, frame[column], 0)
            frame = frame[cells == value]
    numbers = {column: _numbers(path, frame[column], 1).astype("int64") for column in sizes}
    frame = frame.assign(**numbers, **{time: _numbers(path, frame[time])})
    repeated = frame[frame.duplicated([*sizes, *kinds], keep=False)]
    fastest = repeated.groupby([*sizes, *kinds])[time].transform("min")
    for row in repeated.index[repeated[time] > REPEATS * fastest]:
        expected = f"at most {REPEATS:g} times that of the fastest row with the same {', '.join(sizes)} and kernel"
        found = float(f"{repeated[time][row]:g}")
        raise InputError(f"{path}: row {row}: {time}", found=found, expected=f"{expected}, {fastest[row]:g}")
    return frame.rename(columns={time: "latency"})


def _some(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    if frame.empty:
        raise InputError(str(path), "has no row in bfloat16 (of attention: one whole prompt)")
    return frame


def _cells(path: Path) -> pd.DataFrame:
    """A table as the file has it, indexed by row number; the cells of a CSV file are text."""
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
            return frame.set_axis(range(1, len(frame) + 1))
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            rows = dict((reader.line_num, row) for row in reader if row)
    except (OSError, EOFError, ValueError, zlib.error, csv.Error) as error:
        raise _unreadable(path, error) from error
    for number, row in rows.items():
        if len(row) != len(header):
            raise InputError(
                f"{path}: row {number}", f"has {number_of(len(row), 'field')}", expected=f"{len(header)}, as in row 1"
            )
    return pd.DataFrame(list(rows.values()), index=list(rows), columns=header)


def _numbers(path: Path, column: pd.Series[Any], least: int | None = None) -> pd.Series[Any]:
    """These cells as whole numbers >= `least` or, without it, times > 0. InputError names the first that is not one."""
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    if least is None:
        good, expected = (numbers > 0) & (numbers <= LONGEST_MS), "a number > 0 and <= 10^9"
    else:
        good = (numbers % 1 == 0) & numbers.between(least, LARGEST)
        expected = f"a whole number >= {least} and <= 10^12"
    for row in column.index[~good]:
        raise InputError(f"{path}: row {row}: {column.name}", found=str(column[row]), expected=expected)
    return numbers


def _unreadable(path: Path, error: BaseException) -> InputError:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    return InputError(str(path), f"cannot be read: {reason}")


def _newest(folder: Path, name: str) -> Path | None:
    """The file of this name of the newest version that has one."""
    files = folder.glob(f"*/{name}")
    return max(files, key=lambda file: [int(n) for n in re.findall(r"\d+", file.parent.name)], default=None)


def of_shape(frame: pd.DataFrame, **shape: int) -> Mapping[int, tuple[float, str]]:
    """By size (m or isl), the seconds and the name of the fastest kernel among the rows of this shape."""
    size = "m" if "m" in frame.columns else "isl"
    for column, value in shape.items():
        frame = frame[frame[column] == value]
    best = frame.sort_values("latency").drop_duplicates(size).sort_values(size)
    rows = zip(best[size], best["latency"], best["kernel_source"], strict=True)
    return {int(at): (float(ms) * 1e-3, str(kernel)) for at, ms, kernel in rows}
