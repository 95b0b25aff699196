"""Schedulers that reject at once what the work ahead of it would make late: SCORPIO, and early rejection."""

from __future__ import annotations

from dataclasses import dataclass

from flowsim.policies.parts.composed import Composed


@dataclass(frozen=True, kw_only=True)
class Scorpio(Composed):
    """The earliest deadline first; a request is rejected if it would be late behind those of earlier deadlines.

    After SCORPIO's TTFT guard (arXiv 2505.23022): least deadline first, and rejection by the predicted prefill time
    ahead. The rest of SCORPIO is about decoding. One prompt a pass.
    """

    order: str = "edf"
    admission: str = "late-by-edf"


@dataclass(frozen=True, kw_only=True)
class EarlyReject(Composed):
    """First come, first served; a request is rejected if it would be late behind those that came before it.

    After Mooncake's early rejection (arXiv 2407.00079) on the TTFT that is predicted from the queue. Its prediction of
    the load of decoding instances has no counterpart here. A request is judged at
    each decision while it waits, so one whose time was predicted too short may be rejected later.
    """

    batch_tokens: int = 4096
    order: str = "fcfs"
    batching: str = "order"
    admission: str = "late-by-fcfs"
