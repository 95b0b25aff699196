"""What attacks on every reader and writer came to, as `make attack` counted them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

COUNTS = Path(__file__).parents[1] / "evidence" / "attack.json"


def attacks() -> Iterator[str]:
    """One row per kind of attack: how many were tried, were refused and failed, and the most that one took."""
    if not COUNTS.exists():
        return
    kinds = json.loads(COUNTS.read_text())["kinds"]
    yield "| attacked | tried | refused | failed | most CPU s | most MiB |"
    yield "|---|--:|--:|--:|--:|--:|"
    for kind, of in kinds.items():
        yield _row(kind, of["tried"], of["refused"], sum(of["faults"].values()), of["most_cpu_s"], of["most_mib"])
    yield _row(
        "all",
        sum(of["tried"] for of in kinds.values()),
        sum(of["refused"] for of in kinds.values()),
        sum(sum(of["faults"].values()) for of in kinds.values()),
        max(of["most_cpu_s"] for of in kinds.values()),
        max(of["most_mib"] for of in kinds.values()),
    )


def _row(kind: str, tried: int, refused: int, failed: int, cpu_s: float, mib: int) -> str:
    return f"| {kind} | {tried:,} | {refused:,} | {failed:,} | {f'{cpu_s:.1f}' if cpu_s else ''} | {mib or ''} |"
