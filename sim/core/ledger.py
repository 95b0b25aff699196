"""What a replay adds up to: one row per request (`Ledger`), one account per instance (`Log`), and who keeps both."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

NEVER = float("nan")


class Ledger:
    """What happened to each request, one row each: lists of the trace's length, times in seconds, NaN for never.

    Attributes:
        instance: index of the instance it went to; -1 before its arrival.
        arrived_s: when it came there.
        started_s: when the first pass with it was launched.
        finished_s: when its first token was there.
        service_s: duration of the completed passes that computed it.
        preemptions: how often a pass with it was preempted.
        rejected_s: when it was turned away: on arrival, because the KV cache or the model's context could never hold
            it, or later, by the policy.
        cached_tokens: how many of its tokens its first pass found in the prefix cache of its instance.
    """

    def __init__(self, rows: int) -> None:
        self.instance = [-1] * rows
        self.arrived_s = [NEVER] * rows
        self.started_s = [NEVER] * rows
        self.finished_s = [NEVER] * rows
        self.service_s = [0.0] * rows
        self.preemptions = [0] * rows
        self.rejected_s = [NEVER] * rows
        self.cached_tokens = [0] * rows

    @property
    def rejected(self) -> list[bool]:
        """Whether each request was turned away."""
        return [time_s == time_s for time_s in self.rejected_s]  # not NaN


@dataclass
class Log:
    """What an instance did with its time, seconds.

    At any one time the device executes a pass (`busy_s`), or stands still: since word of the last pass, or an order, is
    on its way (`hand_over_s`), since the scheduler decides (`deciding_s`), or since there is nothing to do: it idles.

    Attributes:
        busy_s: device time of its passes, checks included.
        check_s: the part of `busy_s` that these passes would not have taken without checks.
        control_s: time its scheduler spent deciding, from taking in what happened until the device has its order,
            whether a pass was executed meanwhile or not.
        deciding_s: the part of `control_s` in which the device stood still, and the scheduler knew it.
        hand_over_s: from the end of each stretch of execution until the scheduler knew, and from each order to begin or
            resume a pass until the device began.
        heard_s: when the scheduler last learned that a pass had stopped or completed.
        knows_stands: whether `deciding_s` and `hand_over_s` are known; recorded evidence does not hold them.
        decisions: how often it decided.
        preemptions: how often a pass was preempted.
        blocking_s: one entry each time a pass was told to stop: until it acknowledged or completed. If the policy wakes
            at cuts, there is no signal: then from the first arrival that it had not seen.
    """

    busy_s: float = 0.0
    check_s: float = 0.0
    control_s: float = 0.0
    deciding_s: float = 0.0
    hand_over_s: float = 0.0
    heard_s: float = 0.0
    knows_stands: bool = True
    decisions: int = 0
    preemptions: int = 0
    blocking_s: list[float] = field(default_factory=list)


class Recorder:
    """Adds what happens on one instance to its log and to the rows of its requests.

    It has one method per event of `flowsim.core.events`, with the event's name, and its fields as positional arguments:
    feeding it a kept stream again gives the same rows and the same log.

    Args:
        ledger: the rows of all requests, shared by the instances.
        instance: index of this instance.
    """

    keeps_events = False
    """Whether `decided` is to be told; it adds nothing to a log."""

    def __init__(self, ledger: Ledger, instance: int = 0) -> None:
        self.ledger = ledger
        self.log = Log()
        self.instance = instance
        self._ordered_s = math.inf
        """When the device got its latest order; infinite while it stands, as the scheduler knows since `heard_s`."""
        self._decided_s = 0.0
        """When the latest decision was, or will be, made."""

    def arrived(self, time_s: float, request: int) -> None:
        """A request has come to this instance."""
        self.ledger.instance[request] = self.instance
        self.ledger.arrived_s[request] = time_s

    def rejected(self, time_s: float, request: int, by: str) -> None:
        """A request that has arrived is turned away, by the "limits" of its instance or by the "policy"."""
        self.ledger.rejected_s[request] = time_s

    def thought(self, time_s: float, control_s: float) -> None:
        """The scheduler spends `control_s` on a decision."""
        log, ordered_s = self.log, self._ordered_s
        self._decided_s = decided_s = time_s + control_s
        log.control_s += control_s
        log.decisions += 1
        until_s = decided_s if decided_s < ordered_s else ordered_s
        since_s = time_s if time_s > log.heard_s else log.heard_s
        if until_s > since_s:
            log.deciding_s += until_s - since_s

    def decided(
        self, time_s: float, waiting: int, started: int, paused: int, running: int | None, chosen: int | None
    ) -> None:
        """The scheduler has decided."""

    def reused(self, time_s: float, request: int, tokens: int) -> None:
        """A request whose first pass is about to be launched takes tokens from the prefix cache."""
        self.ledger.cached_tokens[request] = tokens

    def launched(self, time_s: float, execution: int, members: tuple[int, ...], tokens: tuple[int, ...]) -> None:
        """A new pass is launched; those of its members that no pass has computed before start now."""
        self._ordered_s = time_s
        started_s = self.ledger.started_s
        for member in members:
            if started_s[member] != started_s[member]:  # NaN
                started_s[member] = time_s

    def resumed(self, time_s: float, execution: int) -> None:
        """A pass that was stopped goes on."""
        self._ordered_s = time_s

    def signalled(self, time_s: float, execution: int) -> None:
        """The running pass is told to stop."""

    def stopped(self, time_s: float, execution: int, members: tuple[int, ...], began_s: float, ended_s: float) -> None:
        """The scheduler learns that the running pass has stopped at a cut."""
        self._heard(time_s, began_s, ended_s)

    def preempted(self, time_s: float, execution: int, members: tuple[int, ...], blocking_s: float) -> None:
        """A pass that has stopped is put aside for another."""
        self.log.preemptions += 1
        self.log.blocking_s.append(blocking_s)
        preemptions = self.ledger.preemptions
        for member in members:
            preemptions[member] += 1

    def completed(
        self,
        time_s: float,
        execution: int,
        members: tuple[int, ...],
        finished: tuple[int, ...],
        began_s: float,
        ended_s: float,
        taken_s: float,
        check_s: float,
        blocking_s: float | None,
    ) -> None:
        """The scheduler learns that the running pass has completed."""
        self._heard(time_s, began_s, ended_s)
        ledger, log = self.ledger, self.log
        log.busy_s += taken_s
        log.check_s += check_s
        if blocking_s is not None:
            log.blocking_s.append(blocking_s)
        service_s, finished_s = ledger.service_s, ledger.finished_s
        for member in members:
            service_s[member] += taken_s
        for member in finished:
            finished_s[member] = ended_s

    def unfinished(self, time_s: float, execution: int, taken_s: float) -> None:
        """The run ends before this pass has completed."""
        self.log.busy_s += taken_s

    def ended(self, time_s: float) -> None:
        """The run ends: an order that is on its way, and a decision in progress, count until now."""
        log, over_s = self.log, max(self._decided_s - time_s, 0.0)
        log.control_s -= over_s
        if self._ordered_s == math.inf:
            log.deciding_s -= over_s
        else:
            log.hand_over_s += time_s - self._ordered_s

    def _heard(self, time_s: float, began_s: float, ended_s: float) -> None:
        """The device stands still, after a stretch of execution; the scheduler may be deciding."""
        log = self.log
        log.hand_over_s += began_s - self._ordered_s + time_s - ended_s
        log.heard_s, self._ordered_s = time_s, math.inf
        if self._decided_s > time_s:
            log.deciding_s += self._decided_s - time_s
