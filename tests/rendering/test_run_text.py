"""Reports: whole screens as text, what is shown when something is not known, and that no width loses a digit."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console, RenderableType

from flowsim.clairvoyant.bound import Bound
from flowsim.rendering.run_text import compare_report, errors_report, run_report, tradeoff_report
from support.results import INPUTS, NEVER, by_hand, six

ERROR = {"whole prompt, from 1024 tokens": {"passes": 12, "median": 0.0172, "max": 0.039}}


def shown(what: RenderableType, width: int = 120) -> str:
    out = io.StringIO()
    Console(file=out, width=width, markup=False, emoji=False, highlight=False).print(what)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def test_a_run_on_one_screen() -> None:
    result = six()
    summary = result.full_summary | {"inputs": INPUTS | {"trace_notices": ["first 6 requests"]}}
    assert shown(run_report(summary)) == (
        "trace   by hand: 6 requests, 1.00 req/s offered\n"
        "        first 6 requests\n"
        "policy  fcfs\n"
        "costs   pencil, given in Python; error not known\n"
        "SLOs    as written\n"
        "\n"
        "class  counted  SLO  attained     goodput  TTFT p50     p90       p99     max\n"
        "all          5         40.0 %  0.33 req/s       4 s  > 12 s    > 12 s  > 12 s\n"
        "text         3  1 s    33.3 %  0.17 req/s       2 s  > 10 s  > 11.8 s  > 12 s\n"
        "file         2  4 s    50.0 %  0.17 req/s     > 4 s   > 4 s     > 4 s   > 4 s\n"
        "other        0    -         -           -         -       -         -       -\n"
        "\n"
        "preemptions  4; blocking time p50 500 ms, p99 745 ms, max 750 ms\n"
        "device       used 25.0 % (checks 2.5 %), hand-overs 5.0 %, deciding 1.0 %, idle 69.0 %\n"
        "requests     unfinished 1, rejected 1; longest wait 12 s\n"
        "not counted  1 without SLO"
    )


def test_policies_side_by_side_on_one_screen() -> None:
    classes = ["text", "text", "file", "file", "text", "other"]
    never, slo_s = [NEVER] * 6, [1, 1, 4, 4, 1, NEVER]
    idle = by_hand(range(6), never, slo_s, classes, started_s=never, stopped_s=16.0, cut_off=True)
    assert shown(compare_report({"fcfs": six().full_summary, "idle": idle.full_summary})) == (
        "trace  by hand: 6 requests, 1.00 req/s offered\n"
        "costs  pencil, given in Python; error not known\n"
        "SLOs   as written\n"
        "\n"
        "policy  attained     goodput  TTFT p50       p90        p99  blocking mean     max  preempted     use\n"
        "fcfs      40.0 %  0.33 req/s       4 s    > 12 s     > 12 s         500 ms  750 ms          4  25.0 %\n"
        "idle       0.0 %  0.00 req/s    > 14 s  > 15.6 s  > 15.96 s              -       -          0   0.0 %\n"
        "\n"
        "attained    text    file  other  unfinished  rejected\n"
        "fcfs      33.3 %  50.0 %      -           1         1\n"
        "idle       0.0 %   0.0 %      -           6         0"
    )


def test_requests_that_a_stop_left_undecided_are_told_apart() -> None:
    stopped = by_hand([0, 1], [1, NEVER], [5, 5], stopped_s=3.0, cut_off=True)
    assert "not counted  1 undecided when stopped" in shown(run_report(stopped.full_summary))
    assert shown(compare_report({"fcfs": stopped.full_summary})).splitlines()[-2:] == [
        "attained     text  counted  undecided  unfinished  rejected",
        "fcfs      100.0 %        1          1           1         0",
    ]


def test_all_metrics_are_shown_when_asked_for() -> None:
    assert shown(run_report(six().full_summary, all_metrics=True)).partition("not counted")[2].splitlines()[2:] == [
        "goodput   0.33 req/s: attainment x offered rate",
        "attained  0.12 req/s of the observed 16 s",
        "          0.20 req/s until the last completion, with the drain",
        "TTFT      queueing 15.4 %, service 69.2 %, paused 15.4 % (of those that finished)",
    ]
    assert shown(compare_report({"fcfs": six().full_summary}, all_metrics=True)).splitlines()[-2:] == [
        "further  attained, observed  with drain  observed  queueing  service  paused  check  schedulers deciding",
        "fcfs             0.12 req/s  0.20 req/s      16 s    15.4 %   69.2 %  15.4 %  2.5 %                1.0 %",
    ]


def test_without_a_rate_the_screen_says_why() -> None:
    text = shown(run_report(by_hand([0, 0], [1, NEVER], [2, 2], rejected=[1]).full_summary))
    assert "2 requests, all at one instant, so no rate" in text
    assert re.search(r"all +2 +50.0 % +- +> 1 s", text)
    assert "by hand: 1 request, no rate\n" in shown(run_report(by_hand([0], [1], [2]).full_summary))
    assert "never" in shown(run_report(by_hand([0], [NEVER], [2], rejected=[0]).full_summary))


@pytest.mark.parametrize("width", [50, 80])
def test_a_narrow_screen_loses_nothing(width: int) -> None:
    def characters(text: str) -> list[str]:
        return sorted(re.sub(r"\s", "", text))

    for report in (run_report(six().full_summary), compare_report({"a-policy:with=options": six().full_summary})):
        assert characters(shown(report, width)) == characters(shown(report, 200))


def test_a_bound_is_said_with_its_share() -> None:
    half = by_hand([0, 1], [1, 5], [2, 2], bounding=lambda attained: Bound(4, 1, 3, attained + 1))
    said = "bound        66.7 % of the clairvoyant bound (optimum within [50.0 %, 75.0 %])"
    assert said in shown(run_report(half.full_summary))
    text = shown(compare_report({"half": half.full_summary}))
    assert "bound  no scheduler attains more than 75.0 %; optimum >= 50.0 %" in text
    assert re.search(r"attained +text +of bound.*\nhalf +50.0 % +66.7 %", text)


def test_a_bound_that_is_not_stated_is_said_with_the_reason() -> None:
    summary = by_hand([0], [1], [2], bounding="the replay is cut off").full_summary
    for report in (run_report(summary), compare_report({"a": summary})):
        assert re.search("bound +none stated: the replay is cut off", shown(report))
    assert "bound" not in shown(run_report(by_hand([0], [1], [2]).full_summary))


def test_names_are_not_markup() -> None:
    result = by_hand([0], [1], [2], ["[red]x"], policy="[/b]:smile:", inputs=INPUTS | {"trace": "t[1].jsonl"})
    text = shown(run_report(result.full_summary))
    assert all(name in text for name in ("[red]x", "[/b]:smile:", "t[1].jsonl: 1 request, "))


def test_errors_by_kind_of_pass() -> None:
    assert shown(errors_report(ERROR)) == (
        "measured passes, not fitted     passes  median error  largest error\n"
        "whole prompt, from 1024 tokens      12        1.72 %         3.90 %"
    )


def test_the_trade_off_as_a_table() -> None:
    row = {"preemption": "every 256 tokens", "solo_s": 0.788, "solo_more": 0.539}
    row |= {"mean_s": 0.00613, "p99_s": 0.0141, "max_s": None}
    assert shown(tradeoff_report([row])) == (
        "preemption        long prompt alone  more than whole  blocking mean      p99  max\n"
        "every 256 tokens             788 ms          +53.9 %        6.13 ms  14.1 ms    -"
    )
