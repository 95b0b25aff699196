"""Production traces, for tests that are skipped without them, and traces made for tests."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from flowsim.traces import Blocks, Trace
from support.places import SHARED_TRACES

needs_traces = pytest.mark.skipif(not SHARED_TRACES.is_dir(), reason="the production traces are not here")
QWEN = SHARED_TRACES / "qwen_trace_a/first_2_minutes.jsonl"
AZURE = SHARED_TRACES / "azure_llm_2023/AzureLLMInferenceTrace_conv.csv.gz"
MOONCAKE = SHARED_TRACES / "mooncake_fast25/conversation_trace.jsonl.gz"
CLIENTS = SHARED_TRACES / "servegen/servegen_deepseek-r1_peak_window.json.gz"
"""Client specifications of ServeGen."""


def with_blocks(lists: Sequence[Sequence[int]], tokens: int = 4, lengths: Sequence[int] | None = None) -> Trace:
    """One request per second with these prefix blocks; by default one token short of filling them."""
    lengths = lengths or [max(tokens * len(ids) - 1, 1) for ids in lists]
    trace = Trace.of(np.arange(len(lists)), lengths)
    ids = np.array([id for some in lists for id in some], dtype=np.int64)
    return trace.derived("made", blocks=Blocks.of(tokens, ids, np.array([len(some) for some in lists])))


OWN = '{"arrival_s": 0, "input_length": 5}\n'
"""The first row of a trace in flowsim's own format."""


def written(folder: Path, content: str | bytes, name: str = "t.txt") -> Path:
    """The file of this name with this content."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def bad_own(**fields: object) -> str:
    """A good row, and one with these fields; `...` leaves a field out."""
    row: dict[str, object] = {"arrival_s": 1, "input_length": 5} | fields
    return OWN + json.dumps({key: value for key, value in row.items() if value is not ...})


def small() -> Trace:
    """Four requests of two classes, one without a class."""
    return Trace.of(
        [0.0, 1.0, 2.0, 4.0], [100, 200, 300, 400], [1, 0, 3, 4], ["text", "file", None, "text"], name="small"
    )


def classed(*names: str | None) -> Trace:
    """A request per second of each of these classes."""
    return Trace.of(range(len(names)), [100] * len(names), classes=names, name="t")
