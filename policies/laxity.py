"""Least laxity first: the least slack before the deadline, absolute or relative to the work."""

from __future__ import annotations

from dataclasses import dataclass

from flowsim.core.operators import Cut
from flowsim.policies.parts.composed import Composed


@dataclass(frozen=True, kw_only=True)
class LLF(Composed):
    """The least slack goes first, one prompt a pass, preempting one with more slack at its next cut.

    Key: d - t - c(n), smallest first: d the deadline, t the time, c(n) the predicted seconds left. The time is the same
    for all that are compared, so d - c(n) ranks them alike. Source: the textbook rule, for which Mok's
    thesis (MIT 1983) is the usual reference, not read here; rules of least slack are older in job shops. Those that are
    late already have the least slack, and go first. It decides at arrivals and completions only, so two of equal slack
    do not take turns.
    """

    cut: Cut = "operator"
    order: str = "llf"


@dataclass(frozen=True, kw_only=True)
class LARS(Composed):
    """The least slack relative to the time of its whole prompt goes first, one prompt a pass, preempted between chunks.

    Key: (d - t - c(n)) / c(N), smallest first: d the deadline, t the time, c(n) the predicted seconds left, c(N) those
    of the whole prompt with nothing cached, here at least a microsecond. So a long prompt, once its slack is short
    beside its length, goes before short ones, which `llf` and `edf` make it wait for. Source: Medha (arXiv 2409.17264),
    section 4.1 of the paper's text. There at most one long prompt runs, in chunks of varying size beside decodes; here
    chunks have the size that the server allows a forward. The released Vajra (LrsReplicaScheduler) divides by the time
    to the deadline instead, 1.5 c(N) and at least 0.5 s.
    """

    cut: Cut = "chunk"
    order: str = "lars"
