"""The stories of a page."""

from __future__ import annotations

import flowsim
from flowsim.report.stories import MOST_STEPS, misses_table, stories, worst_misses
from flowsim.results.explain import explain


def test_a_page_tells_no_more_stories_than_there_is_room_for() -> None:
    why = explain(flowsim.run("example", "fcfs", rate_scale=8, events=True))
    worst = worst_misses({"fcfs": why})
    assert len(worst["fcfs"]) == 150 < len(why.missed)
    told = stories({"fcfs": why}, {"fcfs": [*worst["fcfs"], worst["fcfs"][0]]})
    assert len(told.stories) == 150
    assert all(len(of.table.rows) <= MOST_STEPS + 1 for of in told.stories.values())
    late_s = next(column for column in misses_table({"fcfs": why}, worst).columns if column.title == "late by").values
    assert list(late_s) == sorted(late_s, reverse=True)
