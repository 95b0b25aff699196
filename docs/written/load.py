"""What long traces, long queues, many instances and a large study take, as `python -m benchmarks load` found it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).parents[1] / "evidence" / "load.json"


def replays() -> Iterator[str]:
    """One row per replay."""
    yield "| policy | instances | requests | CPU s | requests / CPU s | peak MiB |"
    yield "|---|--:|--:|--:|--:|--:|"
    for row in [*_figures("replay"), *_figures("instances")]:
        cells = (row["instances"], row["requests"], row["cpu_s"], row["requests"] / row["cpu_s"], row["mib"])
        yield f"| `{row['policy']}` | {' | '.join(f'{cell:,.0f}' for cell in cells)} |"


def waiting() -> Iterator[str]:
    """One row per policy: a decision at each length of the queue."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in _figures("waiting"):
        rows.setdefault(row["policy"], []).append(row)
    lengths = sorted({row["requests"] for row in _figures("waiting")})
    yield f"| policy | {' | '.join(f'{length:,}' for length in lengths)} | MiB |"
    yield f"|---|{'--:|' * (len(lengths) + 1)}"
    for policy, of_policy in rows.items():
        times = [f"{1e3 * row['decision_s']:,.3g}" for row in of_policy]
        yield f"| `{policy}` | {' | '.join(times)} | {of_policy[-1]['mib']:,.0f} |"


def study() -> Iterator[str]:
    """The figures of the study."""
    yield "| points | processes | first run done after | runs per s | asked again | results | MiB of its process |"
    yield "|--:|--:|--:|--:|--:|--:|--:|"
    for row in _figures("study"):
        yield (
            f"| {row['points']:,} | {row['workers']} | {row['start_s']:.1f} s | {row['rows_per_s']:,.0f} "
            f"| {row['again_s']:.1f} s | {row['file_mib']:.1f} MiB | {row['mib']:,.0f} |"
        )


def _figures(kind: str) -> list[dict[str, Any]]:
    return list(json.loads(FIGURES.read_text())[kind]) if FIGURES.exists() else []
