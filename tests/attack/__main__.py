"""Attack every reader and writer for some time, and print how many inputs and kills were tried, and what failed."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from attack.inputs import attacks  # noqa: E402
from attack.kills import kills  # noqa: E402
from attack.targets import make_inputs  # noqa: E402

KILLS = 0.4
"""The share of the time that is spent on kills."""


def main() -> int:
    """Run the attack; the exit status is 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600, help="duration")
    parser.add_argument("--seed", type=int, default=0, help="seed of all that is drawn")
    options = parser.parse_args()
    tried, refused, failed = Counter[str](), Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        pristine, work = Path(name, "pristine"), Path(name, "work")
        pristine.mkdir()
        make_inputs(pristine)
        ends = time.monotonic() + (1 - KILLS) * options.seconds
        for attack in takewhile(lambda _: time.monotonic() < ends, attacks(pristine, work, options.seed)):
            tried[attack.kind] += 1
            refused[attack.kind] += attack.refused
            failed[attack.kind] += bool(attack.fault)
            if attack.fault:
                print(f"{attack.kind}: {attack.command}: {attack.fault}", flush=True)
        ends = time.monotonic() + KILLS * options.seconds
        for kill in takewhile(lambda _: time.monotonic() < ends, kills(pristine, work, options.seed)):
            tried["kill"] += 1
            failed["kill"] += bool(kill.fault)
            if kill.fault:
                print(f"kill after {kill.after_s:.2f} s: {kill.command}: {kill.fault}", flush=True)
    print(f"{'kind':15}  tried  refused  failed")
    for kind, n in tried.items():
        print(f"{kind:15}  {n:5,}  {refused[kind]:7,}  {failed[kind]:6,}")
    print(f"{'all':15}  {tried.total():5,}  {refused.total():7,}  {failed.total():6,}")
    return 1 if failed.total() else 0


if __name__ == "__main__":
    sys.exit(main())
