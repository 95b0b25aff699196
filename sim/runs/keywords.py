"""The options of a run as keyword arguments in Python: their signature, their documentation, their reading."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.core.policy import Policy, check_policy
from flowsim.core.slo_mix import SLOMix
from flowsim.errors import InputError, unknown
from flowsim.policies.registry import PolicySpec, load_policy, policy_spec
from flowsim.runs.declaration import Option
from flowsim.runs.options import RunOptions, by_keyword, from_values, is_option, options
from flowsim.runs.prepare import Given
from flowsim.traces.trace import Trace

Function = TypeVar("Function", bound=Callable[..., Any])
NO_OPTIONS: Mapping[str, Option] = {}
APART = ("trace", "policy")
"""The options that functions take as arguments of their own."""


def from_keywords(
    trace: Trace | str | Path,
    policy: Policy | PolicySpec | str,
    keywords: Mapping[str, Any],
    argument: str = "policy",
) -> tuple[RunOptions, Given]:
    """The options that a call in Python names, and the objects that it gives in place of names.

    Args:
        trace: a trace, or the name of one.
        policy: a policy, or its specification.
        keywords: options by keyword ("slots", "slo_scale"), and "server".
        argument: what the function calls its policy, see `paths_of`.

    Raises:
        InputError: an unknown keyword or a value that does not fit, by keyword.
    """
    values = paths_of(keywords, argument)
    if argument != "policy" and (of_policy := next((path for path in values if path.startswith("policy.")), None)):
        raise _not_of_one(of_policy, argument)
    values["trace"] = _named(trace)
    values["policy"], own = named_policy(policy)
    cost, mix = values.get("cost"), values.get("slo.mix")
    objects = Given(trace if isinstance(trace, Trace) else None, own, cost if isinstance(cost, CostModel) else None)
    if cost is not None:
        values["cost"] = cost.name if isinstance(cost, CostModel) else str(cost)
    if isinstance(mix, SLOMix):
        values["slo.mix"] = mix.to_dict()
    try:
        return from_values(values), objects
    except InputError as error:
        raise renamed(error, lambda option: option.keyword) from None


def named_policy(policy: Policy | PolicySpec | str) -> tuple[PolicySpec, Policy | None]:
    """The specification of a policy, and the policy itself if it was given as an object.

    Raises:
        InputError: an unknown name, or an object that is not a policy.
    """
    if isinstance(policy, str):
        return PolicySpec.parse(policy), None
    if isinstance(policy, PolicySpec):
        return policy, None
    return policy_spec(check_policy(policy)), policy


def policy_text(policy: object) -> object:
    """The specification of a policy that is given as an object, as text; anything else is returned as it is.

    Raises:
        InputError: it is a class, or other processes could not make the policy again: its class is not at the top of
            its module, or its options are not all attributes.
    """
    if isinstance(policy, PolicySpec):
        return str(policy)
    if not hasattr(policy, "choose"):
        return policy
    spec = policy_spec(check_policy(policy))
    kind = type(policy)
    if getattr(sys.modules.get(kind.__module__), kind.__name__, None) is not kind:
        problem = "cannot be made again by other processes: its class is not at the top of a module"
        raise InputError(f"policy {kind.__name__}", problem, expected="a class outside of functions")
    again = None
    with suppress(InputError):
        again = policy_spec(load_policy(str(spec)))
    if again != spec:
        problem = f"cannot be made again from its options: {spec}"
        raise InputError(
            f"policy {kind.__name__}", problem, expected="options that are text or numbers, and attributes"
        )
    return str(spec)


def paths_of(keywords: Mapping[str, Any], argument: str = "policy") -> dict[str, Any]:
    """Options by path, of options by keyword or by path.

    `argument` is what the function that they are given to calls its policy: "policy", "policies", or "" if it has none.

    Raises:
        InputError: an unknown name, an option given twice, or a policy given to a function that has not just one.
    """
    values: dict[str, Any] = {}
    for name, value in keywords.items():
        path = by_keyword()[name].path if name in by_keyword() else name
        if not (is_option(path) or path in ("server", "workload")):
            known = [argument if one == "policy" else one for one in by_keyword()]
            raise unknown("option", name, [*filter(None, known), "server"])
        if path == "policy" != argument:
            raise _not_of_one(path, argument)
        if path in values:
            raise InputError(name, "is given twice")
        values[path] = value
    return values


def _not_of_one(path: str, argument: str) -> InputError:
    """The error for an option of one policy, where a function has several of them or none."""
    if argument:
        return InputError(path, "is given", expected=f"{argument}=['fcfs', 'flowprefill'], each with its options")
    return InputError(path, "is given, but this holds for every policy", expected="none")


def renamed(error: InputError, name: Callable[[Option], str], more: Mapping[str, Option] = NO_OPTIONS) -> InputError:
    """The same error, about an option under the name that it has elsewhere, such as its keyword or its flag.

    What is said of a file that an option names keeps the file. `more` are options other than a run's, by keyword.
    """
    place, colon, inside = error.where.partition(": ")
    whole = (error.option or place).partition("[")[0]  # of an item in a list, the option
    path = whole.partition(": ")[0]
    while path:
        if (option := more.get(path) or options().get(path) or by_keyword().get(path)) is not None:
            said = name(option) or option.keyword
            if error.where == error.option:
                entry = whole.removeprefix(path).lstrip(".: ")  # of an entry of a mapping, the option and the entry
                return error.at(f"{said}: {entry}" if entry else said)
            return error.at(f"{said}{colon}{inside}") if place in option.names else error
        path = path.rpartition(".")[0]
    return error


def documented(function: Function) -> Function:
    """Give a function with `**options` the signature and the documentation of every option of a run.

    The place of the options in its documentation is written {options}.
    """
    known = [option for option in by_keyword().values() if option.keyword not in APART]
    lines = [_described(option) for option in known]
    lines.append("server: `ServerOptions`, or a mapping of them, in place of instances, router, slots and so on.")
    text = "\n".join(textwrap.fill(line, 108, subsequent_indent="    ") for line in lines)
    function.__doc__ = (function.__doc__ or "").replace("{options}", textwrap.indent(text, " " * 8).lstrip())
    signature = inspect.signature(function)
    own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    more = [inspect.Parameter(one.keyword, inspect.Parameter.KEYWORD_ONLY, default=one.default) for one in known]
    more.append(inspect.Parameter("server", inspect.Parameter.KEYWORD_ONLY, default=None))
    function.__signature__ = signature.replace(parameters=[*own, *more])  # type: ignore[attr-defined]
    return function


def _described(option: Option) -> str:
    default = f" Default: {option.default_text}." if option.default_text else ""
    return f"{option.keyword}: {option.help}{default}"


def _named(trace: Trace | str | Path) -> str:
    """The name of a trace; of one given as an object, where it can be found again."""
    if isinstance(trace, Trace):
        return trace.source or trace.name or "given in Python"
    if isinstance(trace, str | Path):
        return str(trace)
    raise InputError("trace", found=trace, expected="a Trace, or the name of one")
