"""What is said of costs: kind and error in a line, in a footing, and a warning where kinds are mixed."""

from __future__ import annotations

from typing import Any

from flowsim.rendering.costs_text import Costs, cost_footing, cost_line, costs_of, mixed_kinds

ERROR = {"whole prompt, from 1024 tokens": {"passes": 12, "median": 0.0172, "max": 0.039}}
FACTORS = {
    "compared": 10, "tokens": (512, 16384), "median": (1.31, 1.17), "low": (1.2, 1.09), "high": (1.37, 1.27),
    "corrected": False, "error": 0.37,
}  # fmt: skip
OURS, THEIRS = Costs("h200/m/tp1", "measured", 0.0172), Costs("a100/m/tp1", "imported", 0.37)


def inputs(kind: str | None, error: Any, factors: Any = None) -> dict[str, Any]:
    return {"cost_model": "g/m/tp1", "cost_model_kind": kind, "cost_model_error": error, "cost_model_factors": factors}


def test_a_line_says_the_kind_and_the_error() -> None:
    assert cost_line(inputs("measured", ERROR)) == (
        "g/m/tp1, measured; differs from measured prefills of >= 1024 tokens by 1.7 % (median), 3.9 % (max)"
    )
    packed = {"packed prompts": {"passes": 1, "median": 0.5, "max": 0.625}}
    assert cost_line(inputs("measured", packed)) == (
        "g/m/tp1, measured; differs from measured packed prompts by 50.0 % (median), 62.5 % (max)"
    )
    assert cost_line(inputs("imported", {})) == "g/m/tp1, imported; error not known"
    assert cost_line(inputs(None, None)) == "g/m/tp1, given in Python; error not known"


def test_a_line_says_how_fast_an_import_is_and_what_is_left_when_it_is_corrected() -> None:
    assert cost_line(inputs("imported", {}, FACTORS)) == (
        "g/m/tp1, imported; too fast: prompts took 1.31 (512 tokens) to 1.17 (16,384) times as long "
        "(1.09 to 1.37 in 10 measured tables)"
    )
    assert cost_line(inputs("imported", {}, FACTORS | {"corrected": True, "error": 0.098})) == (
        "g/m/tp1, imported; corrected by 1.31 (512 tokens) to 1.17 (16,384), "
        "within 10 % of each of 10 measured tables, left out"
    )
    assert cost_line(inputs("imported", {}, FACTORS | {"corrected": True, "error": None, "compared": 2})) == (
        "g/m/tp1, imported; corrected by 1.31 (512 tokens) to 1.17 (16,384), of 2 measured tables: "
        "too few to state an error"
    )


def test_a_footing_names_few_tables_and_counts_many() -> None:
    row = inputs("measured", ERROR) | {"cost_model_stated_error": 0.0172}
    assert cost_footing([costs_of(row)] * 2) == "Costs: g/m/tp1, measured, error 1.7 %"
    many = [Costs(f"h200/{n}/tp1", "measured", n / 100) for n in range(1, 4)]
    assert cost_footing([*many, THEIRS, Costs("mine", None, None)]) == (
        "Costs: 3 tables (measured), error 3.0 %; 1 table (imported), error 37.0 %; "
        "1 table (given in Python), error not known"
    )


def test_only_different_kinds_are_mixed() -> None:
    assert mixed_kinds([]) is None
    assert mixed_kinds([OURS, Costs("h100/m/tp1", "measured", 0.01)]) is None
    assert mixed_kinds([OURS, THEIRS]) == (
        "mixes costs of different kinds, so more than the GPU differs: measured (error 1.7 %), imported (error 37.0 %)"
    )
