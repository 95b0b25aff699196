"""The policies by name: how a policy is found, given its options, and described; `table` has their rows."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from msgspec import Struct

from flowsim.core.policy import Policy, blaming, check_policy
from flowsim.errors import InputError, text_of, unknown
from flowsim.io.schema import MOST
from flowsim.policies.catalogue import TABLE, PolicyRow, check_policy_name, installed

DEFAULT_POLICIES = ("fcfs", "chunked:2048", "flowprefill")
"""The policies that are compared unless told."""

FIRST = ""
"""The name of an option that was given without one: the policy's first."""


class PolicySpec(Struct, frozen=True, forbid_unknown_fields=True):
    """A policy by name, with its options.

    Attributes:
        name: one of `TABLE` or of an installed distribution, or "MODULE:CLASS" for a policy of your own.
        options: values by option; the first option may go under the name "".
    """

    name: str
    options: Mapping[str, str | int | float | bool] = {}

    @classmethod
    def parse(cls, text: str) -> PolicySpec:
        """The specification in a text: NAME or MODULE:CLASS, then ":" and OPTION=VALUE pairs with commas between.

        "flowprefill:cut=layer,batch_tokens=4096"; the first option may go without its name: "chunked:2048".

        Raises:
            InputError: an unknown short name, an option that lacks its value or is given
                twice, or a value that is not text.
        """
        if not isinstance(text, str):
            raise InputError("policy", found=text, expected="text")
        check_policy_name(text)
        parts = text.split(":")
        known = row(parts[0]) is not None
        own = not known and len(parts) > 1 and parts[1].isidentifier()
        name, rest = (":".join(parts[:2]), parts[2:]) if own else (parts[0], parts[1:])
        if not own and not known:
            raise unknown("policy", name or text, [*TABLE, *installed()], where="policy")
        return cls(name, _pairs(name, ":".join(rest)))

    def __str__(self) -> str:
        """The text that `parse` reads."""
        options = ",".join(f"{key}={value}" if key else str(value) for key, value in self.options.items())
        return f"{self.name}:{options}" if options else self.name

    @property
    def shipped(self) -> bool:
        """Whether it is a policy that flowsim ships."""
        return self.name in TABLE


def with_option(spec: PolicySpec, name: str, value: str | int | float | bool) -> PolicySpec:
    """The same policy with another value of one option, which a shipped policy may have been given by position."""
    first = next(iter(inspect.signature(policy_class(spec)).parameters), "") if spec.shipped else FIRST
    key = FIRST if name == first and FIRST in spec.options else name
    return PolicySpec(spec.name, {**spec.options, key: value})


def load_policy(spec: PolicySpec | str) -> Policy:
    """The policy that a specification names, as a value or as text (see `PolicySpec.parse`).

    A module of your own is looked up where Python looks, then in the working directory. It is imported; nothing in it
    is called but a class that has a method `choose`.

    Raises:
        InputError: unknown name, module, class or option, a value that does not fit its option, or a class that is not
            a policy's.
    """
    spec = PolicySpec.parse(spec) if isinstance(spec, str) else spec
    make = policy_class(spec)
    with blaming(f"policy {str(spec)!r}"):
        try:
            policy = make(**_converted(spec, make))
        except InputError:
            raise
        except (TypeError, ValueError) as error:
            raise InputError("", text_of(error)) from error
    return check_policy(policy)


def policy_spec(policy: Policy) -> PolicySpec:
    """The specification from which `load_policy` makes an equal policy: the options that differ from their defaults."""
    kind = type(policy)
    target = f"{kind.__module__}:{kind.__qualname__}"
    table = {**TABLE, **installed()}
    name = next((name for name, row in table.items() if row.place == target), target)
    parameters = inspect.signature(kind).parameters
    options = {key: getattr(policy, key, parameter.default) for key, parameter in parameters.items()}
    return PolicySpec(name, {key: value for key, value in options.items() if value != parameters[key].default})


def check_shipped(policies: Iterable[str], where: str) -> None:
    """Refuse to run code because data names it.

    Args:
        policies: specifications that come from data: evidence, or a bundle.
        where: these data.

    Raises:
        InputError: one is not a policy that flowsim ships.
    """
    own = [name for name in dict.fromkeys(policies) if not PolicySpec.parse(name).shipped]
    if own:
        problem = f"names policies of its own ({', '.join(own)}), whose code is not run"
        raise InputError(where, problem, expected="--trust-policies (in Python: trust_policies=True) to run it")


def canonical(spec: PolicySpec | str) -> str:
    """One text for a shipped policy with the same options, however they were written; else the text itself."""
    try:
        parsed = PolicySpec.parse(spec) if isinstance(spec, str) else spec
        return str(policy_spec(load_policy(parsed)) if parsed.shipped else parsed)
    except InputError:  # whoever loads it will say so
        return str(spec)


def spelling(spec: str, known: Iterable[str], within: str = "study") -> str:
    """The one of the `known` specifications, those of what they are `within`, that means the same policy as `spec`.

    Raises:
        InputError: none does.
    """
    known = list(known)
    same = [spec] if spec in known else [name for name in known if canonical(name) == canonical(spec)]
    if not same:
        raise unknown("policy", spec, known, f"of the {within}")
    return same[0]


class PolicyDescription(NamedTuple):
    """What a policy is.

    Attributes:
        name: its short name.
        family: what kind of scheduler it is.
        what: one line.
        options: its options with their defaults.
        source: where its rules come from; of an installed one, the distribution.
    """

    name: str
    family: str
    what: str
    options: Mapping[str, Any]
    source: str


def describe_policies() -> list[PolicyDescription]:
    """Every policy that has a short name. Of other distributions nothing is imported: their options are left out."""
    others = [
        PolicyDescription(name, row.family, f"{row.place} (flowsim policies {name} says more)", {}, row.source)
        for name, row in installed().items()
    ]
    return [*(describe_policy(name) for name in TABLE), *others]


def describe_policy(name: str) -> PolicyDescription:
    """The policy that a specification names, without its options. InputError: there is none."""
    spec = PolicySpec.parse(name)
    kind, known = policy_class(spec), row(spec.name)
    options = {key: parameter.default for key, parameter in inspect.signature(kind).parameters.items()}
    what = (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")
    return PolicyDescription(spec.name, known.family if known else "own", what, options, known.source if known else "")


def explain_policy(name: str) -> tuple[str, dict[str, str]]:
    """A policy's rule, from its docstring, and what each of its options means, from the lists of attributes there."""
    kind = policy_class(PolicySpec.parse(name))
    rule = (inspect.getdoc(kind) or "").partition("\n\nAttributes:\n")[0]
    meanings: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        listed = inspect.cleandoc(base.__doc__ or "").partition("\nAttributes:\n")[2]
        for names, meaning in re.findall(r"^    ([\w, ]+): (.*(?:\n {8}.*)*)", listed, re.MULTILINE):
            meanings |= dict.fromkeys(names.split(", "), re.sub(r"\s*\n\s*", " ", meaning))
    return rule, meanings


def row(name: str) -> PolicyRow | None:
    """The row of a policy with a short name; None if there is none of this name."""
    return TABLE.get(name) or installed().get(name)


def policy_class(spec: PolicySpec) -> type:
    """The class of a policy, known to be one before anything of it is called. InputError: there is none."""
    module_name, _, class_name = _place(spec).partition(":")
    module = _module(spec, module_name)
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        own = [value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__]
        names = [value.__name__ for value in own if isinstance(value, type) and hasattr(value, "choose")]
        raise unknown("policy class", class_name, names, f"in module {module_name}")
    if not callable(getattr(found, "choose", None)):
        raise InputError(f"policy {class_name}", "has no method choose(view)")
    return found


def policy_module(spec: PolicySpec) -> ModuleType:
    """The module of a policy, imported. InputError: it cannot be."""
    return _module(spec, _place(spec).partition(":")[0])


def _place(spec: PolicySpec) -> str:
    known = row(spec.name)
    return spec.name if known is None else known.place


def _pairs(name: str, text: str) -> dict[str, str | int | float | bool]:
    options: dict[str, str | int | float | bool] = {}
    for item in text.split(",") if text else ():
        key, equals, value = item.partition("=")
        if not item:
            raise InputError(f"policy {name}", f"has an empty option in {text!r}", expected="one comma between options")
        if not equals and options:
            raise InputError(f"policy {name}", f"option {item!r} lacks its value (write {item}=VALUE)")
        apart = re.sub(r":(?=\w+=)", ",", item)
        if apart != item:
            raise InputError(f"policy {name}", f"has {item!r}", expected=f"a comma between options: {apart}")
        if equals and key in options:
            raise InputError(f"policy {name}", f"option {key} is given twice")
        options[key if equals else FIRST] = value if equals else item
    return options


def _module(spec: PolicySpec, name: str) -> ModuleType:
    if name.endswith(".py") or not all(map(str.isidentifier, name.split("."))):
        module, _, kind = spec.name.removesuffix(".py").rpartition(":")
        expected = f"MODULE:CLASS, as in {Path(module).stem}:{kind}, with the module in this folder or installed"
        raise InputError(f"policy {str(spec)!r}", f"{name} is not the name of a module", expected=expected)
    if name.partition(".")[0] in sys.stdlib_module_names:
        raise InputError(f"policy {str(spec)!r}", f"{name} is a module of Python", expected="one of your own")
    here = str(Path.cwd())
    if not spec.shipped and name not in sys.modules and here not in sys.path:
        sys.path.append(here)
    with blaming(f"policy {str(spec)!r}: cannot import {name!r}"):
        try:
            return importlib.import_module(name)
        except (ImportError, SyntaxError) as error:
            raise InputError("", text_of(error)) from error


def _converted(spec: PolicySpec, make: type) -> dict[str, Any]:
    """The options by name, each of the type of its default."""
    parameters = inspect.signature(make).parameters
    options: dict[str, Any] = {}
    for key, value in spec.options.items():
        name = key or next(iter(parameters), "")
        if name not in parameters:
            error = unknown("option", name or str(value), parameters, f"of policy {spec.name}")
            error.option = f"policy.{name}" if key else "policy"
            raise error
        if name in options:
            raise InputError(f"option {name}", "is given twice, by position and by name")
        options[name] = _fitting(f"option {name}", value, parameters[name].default)
    return options


def _fitting(what: str, value: str | int | float | bool, default: Any) -> Any:
    if isinstance(default, bool):
        if str(value).lower() not in ("true", "false"):
            raise InputError(what, found=value, expected="true or false")
        return str(value).lower() == "true"
    if isinstance(default, int | float):
        kind = type(default)
        try:
            number = kind(str(value))
        except ValueError:
            raise InputError(what, found=value, expected=f"a {'whole ' if kind is int else ''}number") from None
        if kind is int and abs(number) > MOST:
            raise InputError(what, found=value, expected="a whole number from -2^53 to 2^53")
        return number
    return str(value)
