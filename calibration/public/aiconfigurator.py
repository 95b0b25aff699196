"""Public measurements of operators: those of the PyPI package aiconfigurator-core (NVIDIA, Apache-2.0).

For each system (a100_sxm, h100_sxm, h200_sxm, b200_sxm, ...) and serving framework it holds Parquet tables of matrix
products, causal attention, mixtures of experts and NCCL's collectives, in milliseconds a call, and a YAML file of the
system's memory and bandwidth. A folder of files with the same columns is read too.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from flowsim.calibration.costs.models import check_name
from flowsim.calibration.costs.table import LARGEST
from flowsim.errors import InputError, unknown
from flowsim.io.documents import UniqueKeys
from flowsim.io.schema import MOST

if TYPE_CHECKING:
    import pandas as pd

PACKAGE = "aiconfigurator_core"
FRAMEWORKS = ("vllm", "sglang", "trtllm")
GEMM, ATTENTION = "gemm_perf.parquet", "context_attention_perf.parquet"
ONE_PROMPT: Mapping[str, str | int] = {
    "attn_dtype": "bfloat16", "kv_cache_dtype": "bfloat16", "window_size": 0, "batch_size": 1, "step": 0,
}  # fmt: skip
SUFFIXES = (".csv", ".csv.gz", ".parquet")
FACTS = {"mem_capacity": 1, "mem_bw": 1, "mem_bw_empirical_scaling_factor": 0.001, "mem_empirical_constant_latency": 0}
"""What a system's YAML file says of its `gpu`, and the least that each may be."""
LONGEST_MS = 2**30
"""Of a time; a table holds it in microseconds."""
REPEATS = 2.0
"""How many times as long as the fastest a row of the same size and kernel may take; it was measured again then.

The package has such rows (attention on the A100, experts of sglang), mostly within 1 %, at most 1.55 times; the fastest
counts. Beyond this two rows contradict each other."""


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
    gemms = {name: _newest(data / "gemm" / name, GEMM) for name in FRAMEWORKS}
    attentions = {name: _newest(data / "attention" / name, ATTENTION) for name in FRAMEWORKS}
    gemm, attention = gemms.get(framework), attentions.get(framework)
    if gemm is None or attention is None:
        there = [name for name in FRAMEWORKS if gemms[name] and attentions[name]]
        raise unknown(f"framework on {system}", framework, there)
    name = f"aiconfigurator-core {version('aiconfigurator-core')}, {system}, {framework} {gemm.parent.name}"
    return _source(
        name, systems / f"{system}.yaml", gemm, attention,
        _newest(data / "moe" / framework, "moe_perf.parquet"), _newest(data / "comm" / "nccl", "nccl_perf.parquet"),
    )  # fmt: skip


def folder_source(folder: str | Path) -> Source:
    """The measurements in a folder of one gemm*, one context_attention* (.csv, .csv.gz or .parquet) and SYSTEM.yaml.

    Columns are the package's; `latency_ms` may stand for latency. InputError: a file is missing or there twice, or what
    it holds is wrong.
    """
    root = Path(folder)
    gemm, attention = (_only(root, f"{name}*", SUFFIXES) for name in ("gemm", "context_attention"))
    about = _only(root, "*.yaml", (".yaml",))
    check_name(f"{about}: name of the system", about.stem)
    return _source(f"{gemm.name} and {attention.name}", about, gemm, attention, None, None)


def _only(root: Path, pattern: str, suffixes: tuple[str, ...]) -> Path:
    """The one file of this kind in a folder."""
    found = sorted(path for path in root.glob(pattern) if path.name.endswith(suffixes))
    if not found:
        raise InputError(f"{root}: allowed is a folder with gemm*.csv, context_attention*.csv and SYSTEM.yaml")
    if len(found) > 1:
        raise InputError(f"{root}: found {found[0].name} and {found[1].name}; allowed: one {pattern}")
    return found[0]


def _source(name: str, about: Path, gemm: Path, attention: Path, moe: Path | None, reduce: Path | None) -> Source:
    capacity, bandwidth, reached, launch_s = _facts(about)
    heads, group = ("num_heads", "num_key_value_heads", "head_dim"), ("num_gpus", "message_size")
    experts = ("hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size")
    return Source(
        name,
        about.stem,
        _some(gemm, _read(gemm, "m", "n", "k", gemm_dtype="bfloat16")),
        _some(attention, _read(attention, "isl", *heads, **ONE_PROMPT)),
        None if moe is None else _read(moe, "num_tokens", *experts, moe_dtype="bfloat16", moe_ep_size=1),
        None if reduce is None else _read(reduce, *group, op_name="all_reduce", nccl_dtype="half"),
        int(capacity),
        bandwidth * reached,
        launch_s,
    )


def _facts(path: Path) -> list[float]:
    """FACTS, as this file has them."""
    try:
        about = yaml.load(path.read_text(encoding="utf-8"), Loader=UniqueKeys)
    except InputError as error:
        raise InputError(f"{path}, {error}") from None
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise _unreadable(path, error) from error
    gpu = about.get("gpu") if isinstance(about, Mapping) else None
    if not isinstance(gpu, Mapping):
        raise InputError(f"{path}, gpu: found {gpu!r}; allowed: a mapping of {', '.join(FACTS)}")
    for key, least in FACTS.items():
        if type(gpu.get(key)) not in (int, float) or not least <= gpu[key] <= MOST:
            hint = ", as in 2.0e+12, for YAML reads 2e12 as text" if isinstance(gpu.get(key), str) else ""
            raise InputError(
                f"{path}, gpu, {key}: found {gpu.get(key)!r:.60}; allowed: a number from {least} to 2^53{hint}"
            )
    return [float(gpu[key]) for key in FACTS]


def _read(path: Path, *sizes: str, **wanted: str | int) -> pd.DataFrame:
    """A table's rows with these values, in those of the columns that it has.

    InputError: it cannot be read, lacks a column, or a row holds something else than a whole number in `sizes` or a
    time as `latency`, or contradicts another.
    """
    frame = _cells(path)
    time = "latency" if "latency" in frame.columns else "latency_ms"
    kinds = [column for column in ("distribution", "kernel_source") if column in frame.columns]
    if missing := [column for column in (*sizes, "kernel_source", time) if column not in frame.columns]:
        raise InputError(f"{path}: missing columns: {', '.join(missing)}")
    for column in frame.columns[frame.columns.duplicated()]:
        raise InputError(f"{path}, row 1: found the column {column!r} twice; allowed: once")
    for column, value in wanted.items():
        if column in frame.columns:
            cells = frame[column] if isinstance(value, str) else _numbers(path, frame[column], 0)
            frame = frame[cells == value]
    numbers = {column: _numbers(path, frame[column], 1).astype("int64") for column in sizes}
    frame = frame.assign(**numbers, **{time: _numbers(path, frame[time])})
    repeated = frame[frame.duplicated([*sizes, *kinds], keep=False)]
    fastest = repeated.groupby([*sizes, *kinds])[time].transform("min")
    for row in repeated.index[repeated[time] > REPEATS * fastest]:
        found = f"found {repeated[time][row]:g} beside {fastest[row]:g} of the same {', '.join(sizes)} and kernel"
        raise InputError(f"{path}, row {row}, {time}: {found}; allowed: at most {REPEATS:g} times as long")
    return frame.rename(columns={time: "latency"})


def _some(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    if frame.empty:
        raise InputError(f"{path}: found no row in bfloat16 (attention: of one whole prompt); allowed: at least one")
    return frame


def _cells(path: Path) -> pd.DataFrame:
    """A table as it stands in the file, each row under its number there; of a CSV file, as text."""
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
            raise InputError(f"{path}, row {number}: found {len(row)} fields; allowed: the {len(header)} of row 1")
    return pd.DataFrame(list(rows.values()), index=list(rows), columns=header)


def _numbers(path: Path, column: pd.Series[Any], least: int | None = None) -> pd.Series[Any]:
    """These cells as whole numbers from `least` or, without it, numbers above 0. InputError: the first that is none."""
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    if least is None:
        good, allowed = (numbers > 0) & (numbers <= LONGEST_MS), "a number above 0, to 2**30"
    else:
        good, allowed = (numbers % 1 == 0) & numbers.between(least, LARGEST), f"a whole number from {least} to 2**40"
    for row in column.index[~good]:
        raise InputError(f"{path}, row {row}, {column.name}: found {str(column[row])!r}; allowed: {allowed}")
    return numbers


def _unreadable(path: Path, error: BaseException) -> InputError:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    return InputError(f"{path}: cannot be read: {reason}")


def _newest(folder: Path, name: str) -> Path | None:
    """The file of this name in the folder of the newest version that has one."""
    files = folder.glob(f"*/{name}")
    return max(files, key=lambda file: [int(n) for n in re.findall(r"\d+", file.parent.name)], default=None)


def of_shape(frame: pd.DataFrame, **shape: int) -> Mapping[int, tuple[float, str]]:
    """Seconds and kernel by size (m or isl) of the rows of this shape, the fastest kernel each; empty if none."""
    size = "m" if "m" in frame.columns else "isl"
    for column, value in shape.items():
        frame = frame[frame[column] == value]
    best = frame.sort_values("latency").drop_duplicates(size).sort_values(size)
    rows = zip(best[size], best["latency"], best["kernel_source"], strict=True)
    return {int(at): (float(ms) * 1e-3, str(kernel)) for at, ms, kernel in rows}
