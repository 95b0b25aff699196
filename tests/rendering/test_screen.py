"""What is printed, and how wide."""

from __future__ import annotations

import pytest
from rich.console import Group
from rich.text import Text

from flowsim.rendering.screen import facts, show, table


def printed(what: object, capsys: pytest.CaptureFixture[str]) -> list[str]:
    show(what)  # type: ignore[arg-type]
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_numbers_are_aligned_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    made = table("policy", "TTFT")
    made.add_row("fcfs", "1 s")
    made.add_row("edf", "20 ms")
    assert printed(made, capsys) == ["policy   TTFT", "fcfs      1 s", "edf     20 ms"]


def test_without_a_terminal_a_wide_table_is_not_broken_and_a_long_fact_is(capsys: pytest.CaptureFixture[str]) -> None:
    wide = table(*(f"column {n:02}" for n in range(14)))
    wide.add_row(*"abcdefghijklmn")
    assert len(printed(Group(Text("head"), wide), capsys)) == 3
    assert len(printed(facts([("name", "word " * 40)]), capsys)) == 2


def test_names_are_neither_markup_nor_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = printed(facts([("name", "[red]a\x1b[31m")]), capsys)
    assert line == "name  [red]a\ufffd[31m"
