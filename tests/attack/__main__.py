"""Attack every reader and writer for some time, and print how many attacks were tried, and what failed.

`--out FILE` keeps the counts, of which `python -m docs.written` makes the table in docs/faults.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "ARROW_IO_THREADS", "MALLOC_ARENA_MAX"):
    os.environ[name] = "1"  # address space that is only reserved counts as memory
os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

import pyarrow as pa  # noqa: E402

import flowsim  # noqa: E402
from attack.inputs import Attack, attacks  # noqa: E402
from attack.interruptions import interruptions  # noqa: E402
from attack.targets import make_inputs, read_all  # noqa: E402

INTERRUPTED = 0.4
"""The share of the time that is spent on interruptions."""


def attacked(pristine: Path, seconds: float, seed: int, worker: int) -> Iterator[Attack]:
    """All attacks of one worker."""
    with tempfile.TemporaryDirectory() as name:
        for share, kind in ((1 - INTERRUPTED, attacks), (INTERRUPTED, interruptions)):
            ends = time.monotonic() + share * seconds
            for attack in kind(pristine, Path(name, "work"), f"{seed}-{worker}"):
                yield attack
                if time.monotonic() > ends:
                    break


def counted(pristine: Path, seconds: float, seed: int, worker: int) -> list[tuple[str, bool, str, float, float]]:
    """What of each attack is counted; faults are printed as they come."""
    found = []
    for attack in attacked(pristine, seconds, seed, worker):
        if attack.fault:
            print(f"{attack.kind}: {attack.command}: {attack.fault}", flush=True)
        found.append((attack.kind, attack.refused, attack.fault.partition(":")[0], attack.cpu_s, attack.mib))
    return found


def main() -> int:
    """Run the attack; the exit status is 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600, help="duration")
    parser.add_argument("--seed", type=int, default=0, help="seed of all that is drawn")
    parser.add_argument("--workers", type=int, default=1, help="processes, each with inputs of its own")
    parser.add_argument("--out", type=Path, help="write the counts there, as JSON")
    options = parser.parse_args()
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory() as name:
        pristine = Path(name, "pristine")
        make_inputs(pristine)
        read_all(pristine, Path(name, "work"))
        with get_context("fork").Pool(options.workers) as pool:
            work = partial(counted, pristine, options.seconds, options.seed)
            parts = pool.map(work, range(options.workers), chunksize=1)
    kinds = by_kind(attack for part in parts for attack in part)
    print(f"{'kind':15}  tried  refused  failed  CPU s    MiB")
    for kind, of in kinds.items():
        print(
            f"{kind:15}  {of['tried']:5,}  {of['refused']:7,}  {sum(of['faults'].values()):6,}"
            f"  {of['most_cpu_s']:5.1f}  {of['most_mib']:5.0f}"
        )
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        about = {
            "version": flowsim.__version__,
            **{name: vars(options)[name] for name in ("seconds", "seed", "workers")},
        }
        options.out.write_text(json.dumps({**about, "kinds": kinds}, indent=1) + "\n")
    return 1 if any(of["faults"] for of in kinds.values()) else 0


def by_kind(attacks: Iterator[tuple[str, bool, str, float, float]]) -> Mapping[str, Mapping[str, Any]]:
    """Of each kind: how many were tried, were refused, and failed in which way, and the most that one took."""
    parts = defaultdict(list)
    for kind, *attack in attacks:
        parts[kind].append(attack)
    return {
        kind: {
            "tried": len(of),
            "refused": sum(refused for refused, *_ in of),
            "faults": Counter(fault for _, fault, *_ in of if fault),
            "most_cpu_s": round(max(cpu_s for *_, cpu_s, _ in of), 2),
            "most_mib": round(max(mib for *_, mib in of)),
        }
        for kind, of in parts.items()
    }


if __name__ == "__main__":
    sys.exit(main())
