"""The error of modelled tables, by what they were modelled without."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from flowsim.calibration.modelled.accuracy import known_errors
from flowsim.io.counts import percent

WITHOUT = {
    "gpu": "the GPU: from this model on the other one",
    "model": "the model: from the others on this GPU",
    "both": "both: from other models on the other GPU",
    "import": "all, beside its corrected import",
}


def by_size() -> Iterator[str]:
    """One row for each GPU and what was left out: of its tables the median of medians, and the largest error."""
    errors = known_errors()
    sizes = list(dict.fromkeys(error.tokens for error in errors))
    yield f"| GPU | left out | models | {' | '.join(map(_size, sizes))} |"
    yield f"|---|---|---|{'---|' * len(sizes)}"
    for gpu, left_out, kind in dict.fromkeys((error.gpu, error.left_out, error.kind) for error in errors):
        alike = [error for error in errors if (error.gpu, error.left_out, error.kind) == (gpu, left_out, kind)]
        cells = [_cell([(error.median, error.max) for error in alike if error.tokens == tokens]) for tokens in sizes]
        yield f"| {gpu} | {WITHOUT[left_out]} | {len({error.model for error in alike})} {kind} | {' | '.join(cells)} |"


def _size(tokens: str) -> str:
    low, _, high = tokens.partition("-")
    return f"{low}-{high}" if high else f">= {low}"


def _cell(errors: list[tuple[float, float]]) -> str:
    if not errors:
        return ""
    typical, largest = median(middle for middle, _ in errors), max(most for _, most in errors)
    return f"{percent(typical)} ({percent(largest)})"
