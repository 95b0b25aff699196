"""What a policy is, and what it sees."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, Protocol, cast, get_args

from flowsim.core.order import Order
from flowsim.core.passes import Execution, Pass
from flowsim.core.request import Request
from flowsim.core.timeline import CHECKED_AFTER, Cut, check_cut
from flowsim.errors import InputError, unknown

Wake = Literal["events", "cuts"]


class View(Protocol):
    """All that a policy sees of one instance, at one moment. Read-only."""

    @property
    def now(self) -> float:
        """The time, seconds."""

    @property
    def waiting(self) -> Collection[Request]:
        """Requests of which nothing is computed yet, in order of arrival."""

    @property
    def started(self) -> Collection[Request]:
        """Requests partly computed by passes that have completed; they hold their KV blocks."""

    @property
    def paused(self) -> Collection[Execution]:
        """Passes stopped at a cut; they hold their KV blocks and their runner slot."""

    @property
    def running(self) -> Execution | None:
        """The pass that is being executed."""

    @property
    def free_tokens(self) -> int:
        """Tokens for which KV blocks are free (whole blocks); compare `request.kv_tokens` with it."""

    @property
    def free_slots(self) -> int:
        """Passes that may still be launched before one completes."""

    def first(self, order: Order) -> Request | Execution | None:
        """The best in this order of all that wait, have started, are paused, or run.

        If the best is a waiting request for which no KV blocks or no runner slot is free, no waiting request is
        considered: it is not overtaken by a smaller one (`step` in the released FlowPrefill code). Nor is a started
        one while no runner slot is free.
        """

    def next_waiting(self, order: Order, last: Request | None = None, max_tokens: int = 1 << 62) -> Request | None:
        """The first waiting request after `last` in this order that has at most `max_tokens` tokens."""

    def predict(self, tokens: int, context: int = 0) -> float:
        """Seconds that the predictor gives a prompt of `tokens` tokens alone, on top of `context` tokens."""


class Policy(Protocol):
    """A prefill scheduler: where a pass may be cut, when it is asked, and what it then chooses.

    The engine asks `choose` when something has happened (`wake = "events"`: an arrival or a completion), or when a
    pass has completed and at every cut of the running one (`wake = "cuts"`: an arrival meanwhile waits for the next
    cut). The same policy object serves every instance: it keeps no state of its own.
    """

    @property
    def cut(self) -> Cut:
        """Where a running pass may be interrupted."""

    @property
    def wake(self) -> Wake:
        """When the policy is asked."""

    def choose(self, view: View) -> Pass | Execution | None:
        """What shall run: a new `Pass`, a paused or the running `Execution`, or None for no change."""


def check_policy(policy: object) -> Policy:
    """The same object, once it is known to have what the engine asks of a policy.

    Raises:
        InputError: a class in place of an object of it, no `choose`, or no `cut` or `wake`, or one that does not exist.
    """
    if isinstance(policy, type):
        name = policy.__name__
        raise InputError("policy", f"must be an object, got the class {name}", expected=f"{name}()")
    name = f"policy {type(policy).__name__}"
    if not callable(getattr(policy, "choose", None)):
        raise InputError(name, "has no method choose(view)")
    for attribute, known in (("cut", CHECKED_AFTER), ("wake", get_args(Wake))):
        if not hasattr(policy, attribute):
            raise InputError(name, f"has no attribute {attribute}", expected=f"one of {', '.join(map(repr, known))}")
    found = cast(Policy, policy)
    check_cut(found.cut)
    if found.wake not in get_args(Wake):
        raise unknown("wake", found.wake, get_args(Wake))
    return found
