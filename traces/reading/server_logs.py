"""Logs of real servers: what a benchmark wrote of each request, as a trace with measured TTFTs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from flowsim.errors import InputError
from flowsim.traces.reading.benchmark_logs import (
    BenchmarkLog,
    JSONObject,
    aiperf_log,
    guidellm_log,
    json_object,
    lists_log,
)
from flowsim.traces.reading.compression import read_lines

DECODES = (
    "answers of several tokens: if the server decodes on the GPU that prefills, its TTFTs include time for decodes, "
    "which is not simulated"
)


@dataclass(frozen=True)
class LogFormat:
    """What one kind of log looks like.

    Attributes:
        marks: fields of the first object of the file by which it is recognised.
        layout: for the list of formats.
        read: the benchmark with a number, from 1 (0: the only one), of the file's objects; raises InputError.
    """

    marks: tuple[str, ...]
    layout: str
    read: Callable[[str, Sequence[JSONObject], int], BenchmarkLog]


def log_format(path: Path, asked: str | None = None) -> str | None:
    """The name in LOGS of the log in this file; None if it is none. InputError: a log without single requests.

    Args:
        path: the file.
        asked: the format that the user names.
    """
    if asked is not None:
        return asked if asked.partition(":")[0] in LOGS else None
    first = _first(path)
    for name, kind in LOGS.items():
        if set(kind.marks) <= first.keys():
            return name
    for marks, problem, expected in INCOMPLETE:
        if marks <= first.keys():
            raise InputError(str(path), problem, expected=expected)
    return None


def read_log(path: Path, name: str) -> BenchmarkLog:
    """The log in this file, in the format `name`: of one of LOGS, with the number of a benchmark after a colon.

    Raises:
        InputError: something in it is wrong; it names the file and the field.
    """
    kind, _, number = name.partition(":")
    if number and not (number.isdecimal() and int(number)):
        raise InputError("format", found=name, expected=f"{kind}:N with the number of a benchmark, from 1")
    log = LOGS[kind].read(str(path), _documents(path), int(number or 0))
    if log.failed.all():
        raise InputError(str(path), "has no request that got a first token", expected="the log of a server")
    notices = (*log.notices, *decodes(log.output_length))
    return replace(log, sent_s=log.sent_s - log.sent_s.min(), notices=notices)


def decodes(output_length: NDArray[Any]) -> tuple[str, ...]:
    """What to say of measured TTFTs beside answers of these lengths."""
    return (DECODES,) if (output_length > 1).any() else ()


def _text(path: Path) -> bytes:
    return b"".join(lines.text for lines in read_lines(path))


def _first(path: Path) -> JSONObject:
    """The first object of a file of JSON; empty if it is something else."""
    for lines in read_lines(path):
        line = lines.text.lstrip().partition(b"\n")[0].strip()
        if not line:
            continue
        if not line.startswith(b"{"):
            return {}
        try:
            return _object(json.loads(line))
        except (ValueError, RecursionError):
            pass
        try:
            return _object(json.loads(_text(path))) if line == b"{" or line[-1:] in b"[{," else {}
        except (ValueError, RecursionError):
            return {}
    return {}


def _object(value: Any) -> JSONObject:
    return value if isinstance(value, dict) else {}


def _documents(path: Path) -> list[JSONObject]:
    """The objects of a file: one, or one per line."""
    text = _text(path)
    try:
        whole = [json.loads(text)]
    except (ValueError, RecursionError):
        whole = []
    numbered = [(str(path), value) for value in whole] or list(_lines(path, text))
    return [json_object(where, value) for where, value in numbered]


def _lines(path: Path, text: bytes) -> Iterator[tuple[str, Any]]:
    """What the lines of a text hold, and where."""
    for number, line in enumerate(text.split(b"\n"), 1):
        where = f"{path}: line {number}"
        if line.strip():
            try:
                yield where, json.loads(line)
            except (ValueError, RecursionError):
                raise InputError(where, "is not JSON", expected="one JSON object per line") from None


LOGS: Mapping[str, LogFormat] = {
    "bench-serving": LogFormat(
        ("input_lens", "ttfts"),
        "json: input_lens, ttfts, start_times; vllm bench serve --save-detailed, sglang.bench_serving --output-details",
        lists_log,
    ),
    "aiperf": LogFormat(
        ("metadata", "metrics"), "jsonl: metadata, metrics; profile_export.jsonl of AIPerf", aiperf_log
    ),
    "guidellm": LogFormat(("benchmarks",), "json: benchmarks, of requests; benchmarks.json of guidellm", guidellm_log),
}
"""The logs that are read, by name."""
INCOMPLETE = (
    (
        {"mean_ttft_ms", "request_throughput"},
        "has no measurements of single requests",
        "one written with --save-detailed (vLLM) or --output-details (SGLang)",
    ),
    (
        {"experiments"},
        "has texts, not numbers of tokens (genai-perf)",
        "AIPerf's profile_export.jsonl, or rows with input lengths and TTFTs",
    ),
)
"""What other files of benchmarks have, what is wrong with them, and what is expected in their place."""
