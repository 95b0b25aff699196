"""The errors of modelled tables: what the file holds, and what a table states of them."""

from __future__ import annotations

from flowsim.calibration.costs.models import load_model
from flowsim.calibration.costs.pass_kinds import LONG_PROMPT
from flowsim.calibration.modelled.accuracy import ALL, known_errors, stated_error

LLAMA = load_model("llama3-8b")
DENSE = {"llama3-8b", "llama3-70b", "qwen2.5-14b", "qwen3-8b", "qwen3-32b"}


def test_one_gpu_is_within_five_per_cent_of_the_other_from_1024_tokens() -> None:
    between = [one for one in known_errors() if (one.left_out, one.tokens) == ("gpu", ALL)]
    assert {(one.gpu, one.model) for one in between} == {(gpu, model) for gpu in ("h100", "h200") for model in DENSE}
    assert max(one.median for one in between) < 0.05


def test_a_table_states_the_largest_error_of_those_modelled_with_as_much_left_out() -> None:
    others = [f"{gpu}/{model}/tp1" for gpu in ("h100", "h200") for model in DENSE - {"llama3-8b"}]
    errors = {
        left_out: stated_error(LLAMA, gpu, source, tables, 1)
        for left_out, gpu, source, tables in (
            ("gpu", "h100", "h200", [*others, "h200/llama3-8b/tp1"]),
            ("model", "h100", "h100", others),
            ("both", "h100", "h200", others),
            ("import", "b200", "h200", others),
        )
    }
    for left_out, stated in errors.items():
        gpu = "b200" if left_out == "import" else "h100"
        alike = [
            one
            for one in known_errors()
            if (one.left_out, one.gpu, one.tokens, one.kind) == (left_out, gpu, ALL, "dense")
        ]
        assert stated is not None
        assert stated[LONG_PROMPT] == {
            "passes": sum(one.prompts for one in alike),
            "median": max(one.median for one in alike),
            "max": max(one.max for one in alike),
        }
        assert len(alike) >= 5


def test_a_gpu_that_nothing_was_compared_with_has_no_error() -> None:
    tables = [f"h200/{model}/tp1" for model in (*DENSE, "qwen3-235b-a22b", "qwen3-30b-a3b")]
    assert stated_error(LLAMA, "h100", "h200", tables, 1) is not None
    assert stated_error(LLAMA, "h20", "h200", tables, 1) is None
    assert stated_error(LLAMA, "h100", "h200", tables, 2) is None
    assert stated_error(LLAMA, "h100", "h200", ["h200/llama3-8b/tp1"], 1) is None  # from fewer tables
    assert stated_error(load_model("qwen3-30b-a3b"), "h100", "h200", tables, 1) is None
