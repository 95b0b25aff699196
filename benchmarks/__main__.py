"""The command line: `python -m benchmarks`, `... versus OTHER_CHECKOUT`, `... decisions` and `... load`."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import decisions, load, speed, versus
from benchmarks.process import TRACES

LOAD = Path(__file__).parents[1] / "docs" / "evidence" / "load.json"


def main() -> None:
    """Run the benchmarks that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="How fast flowsim is.")
    parser.add_argument("--traces", type=Path, default=TRACES, help="folder of the production traces")
    parser.add_argument("--runs", type=int, default=5, help="runs of each case; the median counts")
    parser.add_argument("--million", action="store_true", help="also replay a generated million requests")
    commands = parser.add_subparsers(dest="command")
    other = commands.add_parser("versus", help="compare with another version, both run alternately")
    other.add_argument("checkout", type=Path, help="checkout of the other version")
    other.add_argument("--python", type=Path, help="Python that imports it [default: CHECKOUT/.venv/bin/python]")
    commands.add_parser("decisions", help="what a decision costs under each policy as its queue grows")
    large = commands.add_parser("load", help="long traces, long queues, many instances, and a large study")
    large.add_argument("kinds", nargs="*", metavar="KIND", help=f"some of {', '.join(load.KINDS)} [default: all]")
    large.add_argument("--quick", action="store_true", help="small sizes, to try it out")
    large.add_argument("--workers", type=int, default=1, help="processes")
    large.add_argument("--out", type=Path, default=LOAD, help="JSON file of the figures")
    options = parser.parse_args()
    if options.command == "versus":
        python = options.python or options.checkout / ".venv" / "bin" / "python"
        versus.report(python, traces=options.traces, runs=options.runs)
    elif options.command == "decisions":
        decisions.report()
    elif options.command == "load":
        if unknown := set(options.kinds) - set(load.KINDS):
            parser.error(f"unknown kind {unknown.pop()!r}, expected one of {', '.join(load.KINDS)}")
        kinds, sizes = options.kinds or load.KINDS, load.QUICK if options.quick else load.Sizes()
        load.report(sizes, kinds, options.workers, options.out)
    else:
        speed.report(traces=options.traces, runs=options.runs, million=options.million)


if __name__ == "__main__":
    main()
