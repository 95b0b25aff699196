"""What a run was like over time, on the times of a run that are known."""

from __future__ import annotations

import numpy as np
import pytest

import flowsim
from flowsim.report.over_time import over_time
from support.runs import preempted


def test_waiting_and_use_in_each_stretch() -> None:
    """One waits in [0, 0.5] and [3, 4.875]; passes run in [0.625, 4.625], [5, 6] and, to the end, [6.875, 12.875]."""
    of = over_time(preempted(), bins=103)  # of 1/8 s each
    np.testing.assert_allclose(of.began_s, np.arange(104) / 8)
    at = of.began_s[:-1]
    np.testing.assert_allclose(of.waiting, (at < 0.5) | ((at >= 3) & (at < 4.875)), atol=1e-9)
    ran = ((at >= 0.625) & (at < 4.625)) | ((at >= 5) & (at < 6)) | (at >= 6.875)
    np.testing.assert_allclose(of.used, ran, atol=1e-9)


def test_the_means_add_up_whatever_the_stretches() -> None:
    result = flowsim.run("example", "flowprefill", rate_scale=16, limit=150, instances=2, events=True)
    of = over_time(result, bins=7)
    width_s = of.began_s[1]
    assert width_s * of.waiting.sum() == pytest.approx(np.nansum(result.metrics.queueing_s))
    assert 2 * width_s * of.used.sum() == pytest.approx(sum(log.busy_s for log in result.outcome.logs))
