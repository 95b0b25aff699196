"""Names of definitions."""

from __future__ import annotations

from collections.abc import Iterable

from flowsim.results.definitions.definition import Definition


def names(definitions: Iterable[Definition]) -> list[str]:
    return [of.name for of in definitions]
