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
    for kind, row in kinds.items():
        yield _row(kind, row["tried"], row["refused"], sum(row["faults"].values()), row["most_cpu_s"], row["most_mib"])
    yield _row(
        "all",
        sum(row["tried"] for row in kinds.values()),
        sum(row["refused"] for row in kinds.values()),
        sum(sum(row["faults"].values()) for row in kinds.values()),
        max(row["most_cpu_s"] for row in kinds.values()),
        max(row["most_mib"] for row in kinds.values()),
    )


def _row(kind: str, tried: int, refused: int, failed: int, cpu_s: float, mib: int) -> str:
    return f"| {kind} | {tried:,} | {refused:,} | {failed:,} | {f'{cpu_s:.1f}' if cpu_s else ''} | {mib or ''} |"
