"""What a replay writes down: a row a request (`Ledger`), and an account of each instance's time (`Log`)."""

from __future__ import annotations

from dataclasses import dataclass, field

NEVER = float("nan")


class Ledger:
    """What happened to each request, a row each: lists of the trace's length, times in seconds, NaN for never.

    Attributes:
        instance: index of the instance it went to; -1 before its arrival.
        started_s: when the first pass with it was launched.
        finished_s: when its first token was there.
        service_s: duration of the passes that computed it and have completed.
        preemptions: how often a pass with it was paused.
        rejected: whether it was turned away on arrival, because the KV cache could never hold it.
    """

    def __init__(self, rows: int) -> None:
        self.instance = [-1] * rows
        self.started_s = [NEVER] * rows
        self.finished_s = [NEVER] * rows
        self.service_s = [0.0] * rows
        self.preemptions = [0] * rows
        self.rejected = [False] * rows


@dataclass
class Log:
    """What an instance did with its time, seconds.

    Attributes:
        busy_s: device time of its passes, checks included.
        check_s: the part of `busy_s` that these passes would not have taken without checks.
        control_s: time its scheduler spent deciding, from taking in what happened until the device has its order.
        decisions: how often it decided.
        preemptions: how often a pass was paused.
        blocking_s: an entry each time a pass was told to stop: until it acknowledged or completed. If the policy wakes
            at cuts, there is no signal: then from the first arrival that it had not seen.
        stretches: (start, end, ids of the members, completed?) of every uninterrupted stretch of execution; None
            unless asked for.
    """

    busy_s: float = 0.0
    check_s: float = 0.0
    control_s: float = 0.0
    decisions: int = 0
    preemptions: int = 0
    blocking_s: list[float] = field(default_factory=list)
    stretches: list[tuple[float, float, tuple[int, ...], bool]] | None = None
