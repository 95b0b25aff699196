"""Runs to explain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

import flowsim
from flowsim.core.server import ServerOptions
from flowsim.policies.catalogue import TABLE
from flowsim.results.explain import Explanation, explain
from support.costs import pencil

Row = tuple[float, int, float]
"""Arrival, tokens, SLO."""


def explained(rows: Sequence[Row], policy: Any, clients: Any = None, **options: Any) -> Explanation:
    """What happened to these rows under a policy."""
    arrival_s, tokens, slo_s = zip(*rows, strict=True)
    trace = flowsim.Trace.of(arrival_s, tokens, classes=["text"] * len(rows), slo_s=slo_s, clients=clients)
    defaults: dict[str, Any] = {"cost": pencil(), "predictor": "exact", "server": ServerOptions(block_tokens=1)}
    return explain(flowsim.run(trace, policy, events=True, **{**defaults, **options}))


specs = st.sampled_from(
    [
        *TABLE,
        "chunked:20",
        "edf:cut=none",
        "edf:batching=slo,admission=hopeless",
        "edf:suspend=0.01",
        "sjf:cut=operator",
        *(f"{name}:cut={cut},wake=cuts" for name in ("edf", "sjf", "flowprefill") for cut in ("layer", "operator")),
    ]
)
"""Policies of every kind, shipped and composed."""


drawn_rows = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.001, 0.02, 0.3]),
        st.integers(1, 60),
        st.sampled_from([0.005, 0.01, 0.1, 1.0, math.nan]),
    ),
    min_size=1,
    max_size=25,
)
"""Rows at few different times, so that much happens at once."""
