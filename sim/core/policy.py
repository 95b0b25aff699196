"""What a policy is, what it sees, and how one is found by name and given its options."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, Literal, Protocol, cast, get_args

from flowsim.core.order import Order
from flowsim.core.passes import Execution, Pass
from flowsim.core.request import Request
from flowsim.core.timeline import Cut, check_cut
from flowsim.errors import InputError, raised, unknown

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
        """The first waiting request behind `last` in this order that has at most `max_tokens` tokens."""

    def predict(self, tokens: int, context: int = 0) -> float:
        """What the predictor says a prompt of so many tokens takes alone, on top of `context`, seconds."""


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


NAMES: dict[str, str] = {
    "fcfs": "flowsim.policies.fcfs:FCFS",
    "chunked": "flowsim.policies.chunked:Chunked",
    "sjf": "flowsim.policies.sjf:SJF",
    "edf": "flowsim.policies.edf:EDF",
    "flowprefill": "flowsim.policies.flowprefill:FlowPrefill",
}
"""The policies that have a short name, and where each lives."""


def load_policy(spec: str) -> Policy:
    """The policy that a specification names.

    Args:
        spec: `NAME`, or `module:Class` for one of your own, with options behind a further colon:
            "flowprefill:cut=layer,batch_tokens=4096"; the first option may go without its name: "chunked:2048".

    Raises:
        InputError: unknown name, module, class or option, or a value that does not fit its option.
    """
    parts = spec.split(":")
    own = len(parts) > 1 and parts[0] not in NAMES and parts[1].isidentifier()
    name, rest = (":".join(parts[:2]), parts[2:]) if own else (parts[0], parts[1:])
    if not own and name not in NAMES:
        raise unknown("policy", name, NAMES)
    make = _find(name if own else NAMES[name], spec)
    try:
        policy = make(**_options(name, make, ":".join(rest)))
    except (TypeError, ValueError) as error:
        raise InputError(f"policy {spec!r}: {error}") from error
    except Exception as error:  # whatever the user's class does
        raise InputError(f"policy {spec!r}: {raised(error)}") from error
    return check_policy(policy)


def check_policy(policy: object) -> Policy:
    """The same object, once it is known to have what the engine asks of a policy.

    Raises:
        InputError: no `choose`, or a `cut` or `wake` that does not exist.
    """
    name = type(policy).__name__
    if not callable(getattr(policy, "choose", None)):
        raise InputError(f"policy {name} has no method choose(view)")
    check_cut(getattr(policy, "cut", "missing"))
    if getattr(policy, "wake", "missing") not in get_args(Wake):
        raise unknown("wake", str(getattr(policy, "wake", "missing")), get_args(Wake))
    return cast(Policy, policy)


def policy_spec(policy: Policy) -> str:
    """The specification from which `load_policy` makes an equal policy (options that differ from their defaults)."""
    kind = type(policy)
    target = f"{kind.__module__}:{kind.__qualname__}"
    name = next((name for name, place in NAMES.items() if place == target), target)
    options = []
    for key, parameter in inspect.signature(kind).parameters.items():
        value = getattr(policy, key, parameter.default)
        if value != parameter.default:
            options.append(f"{key}={value}")
    return ":".join([name, ",".join(options)]) if options else name


def canonical(spec: str) -> str:
    """The same text for the same shipped policy with the same options, however they were written; else `spec`."""
    if spec.partition(":")[0] not in NAMES:
        return spec
    try:
        return policy_spec(load_policy(spec))
    except InputError:  # whoever loads it will say so
        return spec


def spelling(spec: str, known: Iterable[str]) -> str:
    """The one of the `known` specifications that means the same policy as `spec`. InputError if none does."""
    known = list(known)
    same = [spec] if spec in known else [name for name in known if canonical(name) == canonical(spec)]
    if not same:
        raise unknown("policy of the study", spec, known)
    return same[0]


def describe_policies() -> list[tuple[str, str, str]]:
    """For each policy with a short name: the name, its first line of documentation, its options with their defaults."""
    rows = []
    for name, target in NAMES.items():
        kind = _find(target, name)
        options = [f"{key}={parameter.default}" for key, parameter in inspect.signature(kind).parameters.items()]
        rows.append((name, (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " "), ", ".join(options)))
    return rows


def _find(target: str, spec: str) -> Callable[..., object]:
    module_name, _, class_name = target.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # a policy in the user's own folder
    try:
        module = importlib.import_module(module_name)
    except (ImportError, SyntaxError) as error:
        raise InputError(f"policy {spec!r}: cannot import {module_name!r}: {error}") from error
    except (Exception, SystemExit) as error:  # whatever the user's module does
        raise InputError(f"policy {spec!r}: cannot import {module_name!r}: {raised(error)}") from error
    found = getattr(module, class_name, None)
    if not callable(found):
        names = [name for name, value in vars(module).items() if hasattr(value, "choose")]
        raise unknown(f"policy class in module {module_name}", class_name, names)
    return cast("Callable[..., object]", found)


def _options(name: str, make: Callable[..., object], text: str) -> dict[str, Any]:
    parameters = inspect.signature(make).parameters
    options: dict[str, Any] = {}
    for item in filter(None, text.split(",")):
        key, equals, value = item.partition("=")
        if not equals and parameters and not options:
            key, value = next(iter(parameters)), item
        elif not equals:
            raise InputError(f"policy {name}: option {item!r} lacks its value (write {item}=VALUE)")
        if key not in parameters:
            raise unknown(f"option of policy {name}", key, parameters)
        options[key] = _convert(f"policy {name}: option {key}", value, parameters[key].default)
    return options


def _convert(what: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise InputError(f"{what} is {text!r}, allowed is true or false")
        return text.lower() == "true"
    if isinstance(default, int | float):
        kind = type(default)
        try:
            return kind(text)
        except ValueError:
            raise InputError(f"{what} is {text!r}, allowed is {'a whole' if kind is int else 'a'} number") from None
    return text
