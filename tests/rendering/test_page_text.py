"""Reports as parts of a page: the words and numbers of the screen."""

from __future__ import annotations

from rich.console import Group
from rich.text import Text

from flowsim.rendering.page import Facts, Paragraph, Table
from flowsim.rendering.page_text import parts_of
from flowsim.rendering.screen import facts, table


def test_tables_facts_and_lines_follow_in_order() -> None:
    made = table("policy", "attained")
    made.add_row("fcfs", "98 %")
    made.add_row("edf", Text("99 %", style="bold"))
    report = Group(facts([("trace", "example"), ("", "more")]), Text(), Group(made, Text("A note.")))
    assert list(parts_of(report)) == [
        Facts([("trace", "example"), ("", "more")]),
        Table(["policy", "attained"], [("fcfs", "98 %"), ("edf", "99 %")]),
        Paragraph("A note.", small=True),
    ]
