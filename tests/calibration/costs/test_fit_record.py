"""How much of a run is extrapolated."""

from __future__ import annotations

import numpy as np

import flowsim
from flowsim.calibration.costs.fit_record import MeasuredRange
from flowsim.calibration.costs.table_catalogue import load_table
from support.calibration import MODEL


def test_what_is_extrapolated_is_counted() -> None:
    span = MeasuredRange(tokens=4096, chunk_tokens=1024, context=9000)
    tokens = np.array([100, 4096, 4097, 9000, 10300])
    none = np.zeros_like(tokens)
    assert span.beyond(tokens, none, 8192).tolist() == [False, False, True, True, True]
    assert span.beyond(tokens, none, 1024).tolist() == [False, False, False, False, True]
    assert span.beyond(tokens, none, 2048).tolist() == [False, True, True, True, True]
    assert span.beyond(tokens, none, 4095).tolist() == [False, False, False, True, True]  # by chunks of 0, 1, 2, 4095
    cached = np.array([50, 3072, 16, 8000, 9000])  # what is computed is a chunk on them
    assert span.beyond(tokens, cached, 8192).tolist() == [False, False, True, False, True]
    assert span.beyond(tokens, cached, 1024).tolist() == [False, False, False, False, True]
    table = load_table("h200", "llama3-8b")
    assert MeasuredRange.of(table) == MeasuredRange(tokens=32768, chunk_tokens=8192, context=131072)
    trace = flowsim.Trace.of([0.0, 1.0], [100, 100_000])
    result = flowsim.run(trace, "fcfs", slo=1e3, max_batched_tokens=65536)
    assert result.summary["inputs"]["extrapolated"] == 1
    assert set(result.summary["inputs"]["cost_model_leave_one_out"]) == {*MODEL.operators, "graph", "graph_rested"}
