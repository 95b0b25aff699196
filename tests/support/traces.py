"""Production traces, for tests that are skipped without them, and traces made for tests."""

from collections.abc import Sequence

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
