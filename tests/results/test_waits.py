"""The parts of a wait."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsim.core.server import ServerOptions
from flowsim.results.explain import REASONS
from flowsim.results.waits import PARTS
from support.costs import random_cost
from support.explained import Row, drawn_rows, explained, specs


@settings(max_examples=60, deadline=None)
@given(specs, drawn_rows, st.integers(0, 2**32), st.sampled_from([1, 2]), st.sampled_from([None, 0.05]))
def test_the_parts_add_up_whatever_the_policy(
    spec: str, drawn: list[Row], seed: int, instances: int, until_s: float | None
) -> None:
    arrivals = np.cumsum([row[0] for row in drawn]).tolist()
    rows = [(at, tokens, slo) for at, (_, tokens, slo) in zip(arrivals, drawn, strict=True)]
    if all(math.isnan(slo) for _, _, slo in rows):
        rows[0] = (*rows[0][:2], 0.1)
    server = ServerOptions(block_tokens=1, instances=instances, max_batched_tokens=32, kv_tokens=1000)
    cost = random_cost(np.random.default_rng(seed))
    why = explained(rows, spec, cost=cost, server=server, until_s=until_s)
    metrics = why.result.metrics
    assert (why.parts_s >= 0).all()
    assert sum(why.counts.values()) == len(why.missed) == int((metrics.counted & ~metrics.attained).sum())
    for id in range(len(why.result.trace)):
        story = why.story(id)
        if not (story.rejected or math.isnan(story.finished_s)):
            assert sum(story.parts_s.values()) == pytest.approx(metrics.ttft_s[id], abs=1e-9)
            own_s = sum(story.parts_s[part] for part in ("alone", "stack", "batched", "slower"))
            assert own_s == pytest.approx(metrics.service_s[id], abs=1e-9)
        told_s = sum(span.lasted_s for span in story.spans)
        idle_s = sum(span.lasted_s for span in story.spans if span.part == "idle")
        assert idle_s == pytest.approx(story.parts_s["idle"], abs=1e-9)
        assert told_s + story.parts_s["host"] == pytest.approx(sum(story.parts_s.values()), abs=1e-9)
    for place, reason in enumerate(why.reasons):
        assert reason in REASONS
        if reason not in ("hopeless", "alone", "rejected") and why.story(int(why.missed[place])).rejected is False:
            assert why.parts_s[place, PARTS.index(reason)] == why.parts_s[place, 1:].max() > 0
