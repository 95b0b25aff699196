"""What a policy chose: whether it is a choice at all, and what has become of it by the time of its launch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowsim.core.passes import Execution, Pass
from flowsim.core.request import Request


def fault(choice: Any) -> tuple[str, str] | None:
    """What is wrong with the kind of a choice, and what was expected; None if it can be a choice."""
    if choice is None or isinstance(choice, Execution):
        return None
    if not isinstance(choice, Pass):
        return f"chose {choice!r}", "a Pass, a paused or the running Execution, a Decision, or None"
    parts: Any = choice.parts
    if type(parts) is not tuple and not isinstance(parts, list | tuple):
        return f"chose a pass with {parts!r}", "pairs of a request and its tokens: Pass(((request, 7),))"
    if not parts:
        return "chose a pass without requests", ""
    for part in parts:
        if not (isinstance(part, tuple) and len(part) == 2 and isinstance(part[0], Request)):
            return f"chose a pass with {part!r}", "pairs of a request and its tokens"
    return None


def renewed(choice: Pass | Execution, tokens_left: Sequence[int]) -> Pass | Execution:
    """A choice, now that the pass that it was to replace has completed, and blocks have entered the prefix cache.

    A request that was to be computed to its end still is, on top of what is cached now; another as far as it was to be,
    but not beyond its end.

    Args:
        choice: what was chosen.
        tokens_left: of each request of a new pass, how many tokens were left to compute when it was chosen.
    """
    if isinstance(choice, Execution):
        return choice
    parts = [
        (request, min(tokens, request.tokens) if tokens < left else tokens - left + request.tokens)
        for (request, tokens), left in zip(choice.parts, tokens_left, strict=True)
    ]
    return Pass(tuple(parts))
