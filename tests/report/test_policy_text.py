"""Policies on the screen."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType

from flowsim.policies.catalogue import TABLE
from flowsim.policies.registry import describe_policies, describe_policy
from flowsim.policies.registry import load_policy as load
from flowsim.report.policy_text import policies_report, policy_report, timeline_table
from flowsim.runs.six_requests import six_requests


def printed(report: RenderableType) -> str:
    out = io.StringIO()
    Console(file=out, width=120, markup=False, emoji=False, highlight=False).print(report)
    return out.getvalue()


def test_policies_stand_under_their_families() -> None:
    lines = [line.rstrip() for line in printed(policies_report(describe_policies())).splitlines()]
    assert [line for line in lines if line and line[0] != " "][1:] == list(
        dict.fromkeys(row.family for row in TABLE.values())
    )
    assert any(line.startswith("  edf            The earliest deadline goes first") for line in lines)


def test_a_timeline_shows_what_waits_and_what_is_computed() -> None:
    rows = [
        line.rstrip() for line in printed(timeline_table(six_requests(load("edf:admission=hopeless")))).splitlines()[1:]
    ]
    assert rows[4].split() == ["4", "search", "5000", "8", "s", "rejected", "missed"]
    assert rows[0].endswith("in time  ##" + "." * 16 + "######" + "." * 4 + "#" * 12)
    assert rows[1].endswith("in time    ##")


def test_one_policy_is_explained() -> None:
    text = printed(policy_report("chunked", describe_policy("chunked"), "The rule.", {"budget": "tokens."}, []))
    for part in ("The rule.", "source  Sarathi-Serve", "budget  2048     tokens.", "--policy chunked:budget=2048"):
        assert part in text


def test_the_command_runs_the_very_policy_that_was_asked_about() -> None:
    text = printed(policy_report("headroom:headroom=0.5", describe_policy("headroom:headroom=0.5"), "", {}, []))
    assert "  flowsim run example --policy headroom:headroom=0.5\n" in text
