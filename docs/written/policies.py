"""The policies, from their table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from flowsim.policies.catalogue import TABLE
from flowsim.policies.parts.composed import Composed
from flowsim.policies.registry import PolicySpec, describe_policy, policy_class


def by_family() -> Iterator[str]:
    """One row per policy that flowsim ships."""
    yield "| name | family | what it does | its own options and defaults | source |"
    yield "|---|---|---|---|---|"
    shared = {field.name: field.default for field in fields(Composed)}
    for name in TABLE:
        policy = describe_policy(name)
        known = shared if issubclass(policy_class(PolicySpec(name)), Composed) else {}
        own = [f"`{key}={value}`" for key, value in policy.options.items() if known.get(key) != value]
        yield f"| `{policy.name}` | {policy.family} | {policy.what} | {', '.join(own)} | {policy.source} |"
