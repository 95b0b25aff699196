"""The table of differences: whole screens as text."""

from __future__ import annotations

import io
import math
from typing import Any

from rich.console import Console

from flowsim.rendering.differences_text import differences_report, p_text


def rows(
    policy: str, *, few: bool = False, long: bool = False, p: float = 0.008, unpaired: int = 0
) -> list[dict[str, Any]]:
    found = {
        "attainment": (-0.248, -0.547, -0.051),
        "goodput_rps": (-2.25, -5.5, -0.98),
        "ttft_p50_s": (0.115, 0.0129, 20.0 if long else 0.221),
        "ttft_p90_s": (12.0 if long else 0.136, math.nan, math.nan),
        "ttft_p99_s": (math.nan, math.nan, math.nan),
    }
    return [
        {"policy": policy, "against": "fcfs", "metric": metric, "mean": mean, "low": low, "high": high, "few": few}
        | {"unpaired": unpaired, "p": p, "p_holm": p}
        for metric, (mean, low, high) in found.items()
    ]


def shown(*arguments: Any) -> str:
    out = io.StringIO()
    Console(file=out, width=120, markup=False, emoji=False, highlight=False).print(differences_report(*arguments))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def test_differences_on_one_screen() -> None:
    assert shown([*rows("edf"), *rows("sjf", few=True, p=0.0001)], [("edf", "sjf", "a")]) == (
        "edf, sjf and a made the same decisions for every request.\n"
        "\n"
        "minus fcfs    attained, % points      goodput, req/s     TTFT p50, ms  p90, ms  p99, ms        p\n"
        "edf          -24.8 [-54.7, -5.1]   -2.2 [-5.5, -1.0]   +115 [13, 221]     +136        -    0.008\n"
        "sjf         -24.8 [-54.7, -5.1]*  -2.2 [-5.5, -1.0]*  +115 [13, 221]*     +136        -  < 0.001\n"
        "Paired by request; 95 % intervals of a moving-block bootstrap over this one trace; p: of no difference in "
        "attainment, by\n"
        "Holm's method for 2 comparisons. * rests on fewer than 20 stretches of requests: too narrow, "
        "use a longer trace."
    )


def test_long_differences_are_in_seconds_and_one_comparison_needs_no_method() -> None:
    text = shown(rows("edf", long=True))
    assert "TTFT p50, s" in text and "+12.0" in text and "Holm's method for one comparison." in text
    assert "stretches" not in text
    assert "leave out" not in text


def test_a_star_marks_an_interval_only() -> None:
    bare = [row | {"low": math.nan, "high": math.nan} for row in rows("edf", few=True)]
    assert "*" not in shown(bare)


def test_requests_that_one_policy_alone_counts_are_said_to_be_left_out() -> None:
    said = "They leave out the requests that only one of the two counts"
    assert said in shown(rows("edf", unpaired=3)).replace("\n", " ")


def test_p_values_have_no_more_digits_than_they_deserve() -> None:
    assert [p_text(p) for p in (0.0001, 0.0078, 0.0625, 0.123, 1.0)] == ["< 0.001", "0.008", "0.062", "0.12", "1.00"]
