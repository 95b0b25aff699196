"""The machine that is measured: whether it can be, its names and versions, and the type in which it computes."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

from flowsim.calibration.costs.models import BYTES_PER_VALUE, ModelSpec, check_table_name
from flowsim.calibration.gpu.monitor import driver_version
from flowsim.errors import InputError, unknown

CPU_MEMORY_BYTES = 16 << 30
"""Memory stated in a table that was measured on a CPU: enough for the small models that are measured there."""
FLOAT32_BYTES = 4


def check_seed(seed: int) -> None:
    """Raise `InputError` unless this can seed random numbers."""
    if not 0 <= seed < 2**63:
        raise InputError("seed", found=seed, expected=">= 0 and < 2^63")


def check_device(device: str) -> None:
    """Raise `InputError` unless torch is installed and has this device."""
    try:
        import torch
    except ImportError as error:
        raise InputError("torch", "is needed to measure: pip install 'flowsim[calibrate]'") from error
    if device not in ("cuda", "cpu"):
        raise unknown("device", device, ("cuda", "cpu"), where="device")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device", "no CUDA GPU was found", expected="a machine with one, or the device 'cpu'")


def check_measurable(spec: ModelSpec, device: str) -> None:
    """Raise `InputError` if the decoder lacks what the model has, or if on a CPU it would take hours."""
    if lacking := spec.not_measured:
        how = "another model, or a table scaled from measured ones (flowsim calibrate model)"
        raise InputError(spec.name, f"has {' and '.join(lacking)}, which are not measured", expected=how)
    needed = spec.weight_bytes * FLOAT32_BYTES // BYTES_PER_VALUE
    if device == "cpu" and needed > CPU_MEMORY_BYTES:
        found, most = (f"{size / 2**30:.1f} GiB" for size in (needed, CPU_MEMORY_BYTES))
        expected = f"<= {most} on a CPU, which is only to try out"
        raise InputError(spec.name, f"has {found} of weights in float32", expected=expected)


def dtype_of(device: str) -> str:
    """torch's name of the type in which a model computes on this device."""
    return "bfloat16" if device == "cuda" else "float32"


def machine(device: str, gpu: str | None) -> dict[str, Any]:
    """The names and versions of the hardware and the software."""
    import torch

    if gpu is not None:
        check_table_name("gpu", gpu)
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    has = torch.cuda.get_device_properties() if device == "cuda" else None
    return {
        "gpu": gpu or short_name(name),
        "gpu_name": name,
        "memory_bytes": CPU_MEMORY_BYTES if has is None else has.total_memory,
        "multiprocessors": None if has is None else has.multi_processor_count,
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "driver": driver_version() if device == "cuda" else None,
        "python": platform.python_version(),
        "cpu": _cpu_name(),
    }


def short_name(name: str) -> str:
    """A GPU's own name without its maker and its memory: h100 for NVIDIA H100 80GB HBM3."""
    return "-".join(word for word in name.lower().split() if not re.fullmatch(r"nvidia|[0-9]+gb|hbm[0-9]+e?", word))


def gpu_id(device: str) -> str | None:
    """The start of the GPU's UUID, which tells GPUs of one name apart; None if torch does not know it."""
    import torch

    uuid = getattr(torch.cuda.get_device_properties(), "uuid", None) if device == "cuda" else None
    return str(uuid)[:8] if uuid else None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"
