"""Fuzz the readers of trace files with atheris: `python -m tests.fuzz --seconds 1800`.

Inputs that reach new code are collected in --corpus; an input that breaks something is left beside that folder, in
crash-* (or timeout-*, oom-*). Those worth keeping belong in tests/fuzz/corpus, which the tests replay.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["flowsim.traces"]):
    from flowsim.traces import FORMATS
    from tests.fuzz.target import check

HERE = Path(__file__).parent


def words() -> list[str]:
    """What the fuzzer is told to try: field names, and values at the edges of what is valid."""
    fields = {name for kind in FORMATS.values() for name in (*kind.signature, *(kind.chats or ()), kind.hash_ids)}
    edges = ("NaN", "Infinity", "-1", "1e400", "1099511627776", "9223372036854775808", "null", "true", "[]", "{}")
    dates = ("2023-11-16 18:15:46.6805900", "2024-05-10T00:00:01+00:00")
    more = ("output_length", "class", "block_tokens", "rate", "family", "Gamma", "Weibull", "shape", "input_pdf")
    return [*sorted(filter(None, fields)), *edges, *dates, *more, "\\\\ud800", "\\xef\\xbb\\xbf", "\\x0d\\x0a"]


def main() -> None:
    """Run the fuzzer."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=1800, help="duration")
    parser.add_argument("--corpus", type=Path, default=Path("out/fuzz"), help="folder for new inputs")
    options = parser.parse_args()
    options.corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "words").write_text("".join(f'"{word}"\n' for word in words()))
        flags = [
            f"-dict={folder / 'words'}",
            f"-max_total_time={options.seconds}",
            f"-artifact_prefix={options.corpus.parent}/",
            "-max_len=4096",
            "-timeout=30",
            "-rss_limit_mb=3000",
        ]
        places = [str(options.corpus), str(HERE / "corpus")]
        atheris.Setup([sys.argv[0], *flags, *places], lambda content: check(content, folder))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
