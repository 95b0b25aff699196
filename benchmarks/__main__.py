"""The command line: `python -m benchmarks`, `... versus OTHER_CHECKOUT` and `... decisions`."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import decisions, speed, versus
from benchmarks.process import TRACES


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
    options = parser.parse_args()
    if options.command == "versus":
        python = options.python or options.checkout / ".venv" / "bin" / "python"
        versus.report(python, traces=options.traces, runs=options.runs)
    elif options.command == "decisions":
        decisions.report()
    else:
        speed.report(traces=options.traces, runs=options.runs, million=options.million)


if __name__ == "__main__":
    main()
