"""A small study, as a mapping and as YAML, and what its folder holds."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

STUDY: dict[str, Any] = {
    "run": {"trace": "synthetic:qwen:150", "warmup": 0.1},
    "axes": {"policy": ["fcfs", "chunked:512", "flowprefill"], "workload.rate_rps": [8, 16], "seed": [0, 1, 2]},
}

TEXT = """
run: {trace: "synthetic:qwen:150", warmup: 0.1}
axes: {policy: [fcfs, "chunked:512", flowprefill], workload.rate_rps: [8, 16], seed: [0, 1, 2]}
"""


def bytes_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, by name."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


RUN = {"trace": "synthetic:qwen:100"}
"""A short run."""
