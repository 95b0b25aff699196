"""Production traces, for tests that are skipped without them."""

import pytest

from support.places import SHARED_TRACES

needs_traces = pytest.mark.skipif(not SHARED_TRACES.is_dir(), reason="the production traces are not here")
QWEN = SHARED_TRACES / "qwen_trace_a/first_2_minutes.jsonl"
AZURE = SHARED_TRACES / "azure_llm_2023/AzureLLMInferenceTrace_conv.csv.gz"
MOONCAKE = SHARED_TRACES / "mooncake_fast25/conversation_trace.jsonl.gz"
CLIENTS = SHARED_TRACES / "servegen/servegen_deepseek-r1_peak_window.json.gz"
"""Client specifications of ServeGen."""
