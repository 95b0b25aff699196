"""What a policy is, and what it sees."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import BuiltinMethodType, CellType, FunctionType, MethodType, ModuleType, NoneType
from typing import Any, Literal, Protocol, Self, cast, get_args

from flowsim.core.operators import CHECKED_AFTER, Cut, check_cut
from flowsim.core.order import Order
from flowsim.core.passes import Decision, Execution, Pass
from flowsim.core.request import Request
from flowsim.errors import InputError, raised, text_of, unknown
from flowsim.io.signals import is_of_signal

Wake = Literal["events", "cuts"]


class View(Protocol):
    """All that a policy sees of one instance, at one moment. Read-only, and so is all that it shows."""

    @property
    def instance(self) -> int:
        """The number of this instance; 0 for the first."""

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

    @property
    def attained(self) -> Mapping[str, int]:
        """By class: how many requests of this instance have had their first token in time so far; 0 is left out.

        In time on the instance: the way back to the client (`return_s`), of which a scheduler knows nothing, is left
        out, so that a result may have fewer.
        """

    @property
    def missed(self) -> Mapping[str, int]:
        """By class: how many requests of this instance were late on it or rejected so far; 0 is left out."""

    def fits(self, request: Request) -> bool:
        """Whether a pass with this request could be launched now: KV blocks and a runner slot are free for it."""

    def first(self, order: Order, besides: Collection[Request] = ()) -> Request | Execution | None:
        """The best in this order of all that wait, have started, are paused, or run; `besides`: those left out.

        If the best is a waiting request for which no KV blocks or no runner slot is free, no waiting request is
        considered: it is not overtaken by a smaller one (`step` in the released FlowPrefill code). Nor is a started
        one while no runner slot is free.
        """

    def next_waiting(self, order: Order, last: Request | None = None, max_tokens: int = 1 << 62) -> Request | None:
        """The first waiting request after `last` in this order that has at most `max_tokens` tokens."""

    def ranked(self, order: Order) -> Iterable[Request]:
        """All that wait, in this order; to be read before anything has changed."""

    def predict(self, tokens: int, context: int = 0) -> float:
        """Seconds that the predictor gives a prompt of `tokens` tokens alone, on top of `context` tokens."""


class Policy(Protocol):
    """A prefill scheduler: where a pass may be cut, when it is asked, and what it then chooses.

    The engine asks `choose` when something has happened (`wake = "events"`: an arrival, a completion, or a timer), or
    when a pass has completed and at every cut of the running one (`wake = "cuts"`: an arrival meanwhile waits for the
    next cut).

    Two more methods are optional. `on_arrival(request, view)` hears of every request that arrives, before it is among
    `view.waiting`, but for those that a limit of the KV cache or the model's context rejects; `on_completion(execution,
    view)` of every pass that has completed, which took `execution.taken_s`; those of its requests that have no `tokens`
    left have their first token. What they return is ignored.

    A policy may keep what it learns in its attributes: for each run, and in it for each instance, the engine makes a
    copy of the policy as it was given (`own`).
    """

    @property
    def cut(self) -> Cut:
        """Where a running pass may be interrupted."""

    @property
    def wake(self) -> Wake:
        """When the policy is asked."""

    def choose(self, view: View) -> Pass | Execution | Decision | None:
        """What to run: a new `Pass`, a paused or the running `Execution`, or None for no change.

        A `Decision` says that together with requests to reject and with a time at which to be asked again.
        """


HOOKS = ("on_arrival", "on_completion")
"""The optional methods of a policy."""


class AroundPolicy:
    """A policy in whose place another stands, which asks it; base class.

    A copy has a copy of the policy, and shares the rest.

    Attributes:
        policy: which is asked.
        cut, wake: its own.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.cut, self.wake = policy.cut, policy.wake

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = copy.copy(self)
        twin.policy = copy.deepcopy(self.policy, memo)
        return twin

    def __getattr__(self, name: str) -> Any:
        if name in HOOKS:
            return getattr(self.policy, name)
        raise AttributeError(name)


def check_policy(policy: object) -> Policy:
    """The same object, once it is known to have what the engine asks of a policy.

    Raises:
        InputError: a class in place of an object of it, no `choose`, or no `cut` or `wake`, or one that does not exist.
    """
    if isinstance(policy, type):
        name = policy.__name__
        raise InputError("policy", f"must be an object, got the class {name}", expected=f"{name}()")
    name = f"policy {type(policy).__name__}"
    with blaming(name):
        if not callable(getattr(policy, "choose", None)):
            raise InputError("", "has no method choose(view)")
        for attribute, known in (("cut", CHECKED_AFTER), ("wake", get_args(Wake))):
            if not hasattr(policy, attribute):
                raise InputError("", f"has no attribute {attribute}", expected=f"one of {', '.join(map(repr, known))}")
        found = cast(Policy, policy)
        check_cut(found.cut)
        if found.wake not in get_args(Wake):
            raise unknown("wake", found.wake, get_args(Wake))
    return found


@contextmanager
def blaming(policy: str) -> Iterator[None]:
    """Make an InputError, within `policy`, of what its own code raises inside; what a signal raises goes on."""
    try:
        yield
    except InputError as error:
        raise error.within(policy) from None
    except BaseException as error:
        if is_of_signal(error):
            raise
        raise InputError(policy, f"raised {raised(error)}") from error


def own(policy: Policy) -> Policy:
    """A policy of one's own that is as this one was given: a deep copy.

    A function anywhere in its attributes may refer to its policy (`lambda request: self.tag[request.id]`), by a
    variable of its surroundings, a default or another function there: the copy's function refers to the copy.

    Raises:
        InputError: it cannot be copied, or a function in the copy refers to the policy as it was given all the same,
            as by a global variable.
    """
    name, memo = f"policy {type(policy).__name__}", dict[int, Any]()
    try:
        _rebind(list(_reached(policy)), memo)
        copied = copy.deepcopy(policy, memo)
    except BaseException as error:  # whatever the user's attributes do
        if is_of_signal(error):
            raise
        problem = f"cannot be copied for each run and instance: {type(error).__name__}: {text_of(error)}".removesuffix(
            ": "
        )
        raise InputError(name, problem) from error
    for value in _reached(copied):
        if value is policy or (isinstance(value, FunctionType) and _names(value, policy)):
            problem = "cannot be copied for each run and instance: a function in it refers to the original"
            raise InputError(name, problem, expected="functions that refer to it as self")
    return copied


def _rebind(values: Collection[Any], memo: dict[int, Any]) -> None:
    """Put copies of the functions among these values, with copies of what they refer to, into the memo of a copy."""
    functions = [value for value in values if isinstance(value, FunctionType) and _referents(value)]
    cells: dict[int, tuple[CellType, CellType]] = {}
    for function in functions:
        held = function.__closure__ or ()
        cells |= {id(cell): (cell, CellType()) for cell in held if id(cell) not in cells}
        closure = tuple(cells[id(cell)][1] for cell in held)
        memo[id(function)] = FunctionType(function.__code__, function.__globals__, function.__name__, None, closure)
    for value in values:
        if isinstance(value, BuiltinMethodType) and _referents(value):
            memo[id(value)] = getattr(copy.deepcopy(value.__self__, memo), value.__name__)
    for function in functions:
        twin = memo[id(function)]
        twin.__defaults__ = copy.deepcopy(function.__defaults__, memo)
        twin.__kwdefaults__ = copy.deepcopy(function.__kwdefaults__, memo)
        twin.__dict__.update(copy.deepcopy(function.__dict__, memo))
    for cell, twin_cell in cells.values():
        for content in _contents(cell):
            twin_cell.cell_contents = content if isinstance(content, ModuleType) else copy.deepcopy(content, memo)


def _reached(value: Any) -> Iterator[Any]:
    """A value, and all that its attributes, containers and functions lead to, each once."""
    seen, left = set[int](), [value]
    while left:
        one = left.pop()
        if id(one) not in seen and not isinstance(one, type | ModuleType):
            seen.add(id(one))
            yield one
            left += _referents(one)


def _referents(value: Any) -> list[Any]:
    """What a value refers to: by the variables and defaults of a function, as elements, or as attributes."""
    found: list[Any] = list(getattr(value, "__dict__", {}).values())
    if isinstance(value, FunctionType):
        found += [content for cell in value.__closure__ or () for content in _contents(cell)]
        found += [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
    elif isinstance(value, MethodType | BuiltinMethodType):
        found += [] if isinstance(value.__self__, ModuleType | type | NoneType) else [value.__self__]
    elif isinstance(value, partial):
        found += [value.func, *value.args, *value.keywords.values()]
    elif isinstance(value, dict):
        found += [*value, *value.values()]
    elif isinstance(value, list | tuple | set | frozenset | deque):
        found += value
    else:
        slots = (name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ()))
        found += [getattr(value, name) for name in slots if name != "__dict__" and hasattr(value, name)]
    return found


def _contents(cell: CellType) -> list[Any]:
    """What a variable of a function's surroundings holds; nothing if it is not assigned yet."""
    try:
        return [cell.cell_contents]
    except ValueError:
        return []


def _names(function: FunctionType, policy: Policy) -> bool:
    """Whether a global variable that this function reads is the policy."""
    return any(function.__globals__.get(name) is policy for name in function.__code__.co_names)
