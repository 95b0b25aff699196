"""The requests of a run that missed their SLO: a table of them, and the story of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from flowsim.rendering.page import Column, Facts, Rows, Table
from flowsim.rendering.page_text import parts_of
from flowsim.rendering.reasons import REASONS
from flowsim.rendering.run_parts import STORY, RequestStory, Stories
from flowsim.report.explain_text import story_report
from flowsim.report.gantt import story_key
from flowsim.report.timeline_bounds import worst_requests
from flowsim.results.explain import Explanation

MOST_STORIES = 150
"""Stories of a page."""
MOST_STEPS = 120
"""Lines of a story that a page has."""


def worst_misses(explanations: Mapping[str, Explanation]) -> dict[str, list[int]]:
    """Of each policy, the requests that miss their SLO by most, worst first: as many as a page has room for."""
    most = max(MOST_STORIES // len(explanations), 20)
    return {name: worst_requests(why.result, min(most, len(why.missed))) for name, why in explanations.items()}


def misses_table(explanations: Mapping[str, Explanation], worst: Mapping[str, Iterable[int]]) -> Rows:
    """One row per such request; a click asks for its story."""
    rows = [(name, why, id) for name, why in explanations.items() for id in worst[name]]
    late_s = [float(why.result.metrics.ttft_bound_s[id] - why.result.slo.ttft_slo_s[id]) for _, why, id in rows]
    reasons = {name: dict(zip(why.missed.tolist(), why.reasons, strict=True)) for name, why in explanations.items()}
    columns = [
        Column("request", [id for _, _, id in rows], "count"),
        Column("class", [_class(why, id) for _, why, id in rows]),
        Column("missed", [REASONS[reasons[name][id]] for name, _, id in rows]),
        Column("late by", late_s, "seconds"),
        Column("TTFT", [float(why.result.ttft_s[id]) for _, why, id in rows], "seconds"),
        Column("SLO", [float(why.result.slo.ttft_slo_s[id]) for _, why, id in rows], "seconds"),
        Column("tokens", [int(why.result.trace.input_length[id]) for _, why, id in rows], "count"),
        Column("arrived, s", [round(float(why.result.trace.arrival_s[id]), 3) for _, why, id in rows], "number"),
        Column("preempted", [why.result.outcome.ledger.preemptions[id] for _, why, id in rows], "count"),
    ]
    if len(explanations) > 1:
        columns.insert(0, Column("policy", [name for name, _, _ in rows]))
    return Rows(columns, (STORY, [story_key(name, id) for name, _, id in rows]))


def stories(explanations: Mapping[str, Explanation], ids: Mapping[str, Iterable[int]]) -> Stories:
    """The stories of these requests of each policy."""
    return Stories(dict(_told(explanations, ids)))


def _told(
    explanations: Mapping[str, Explanation], ids: Mapping[str, Iterable[int]]
) -> Iterator[tuple[str, RequestStory]]:
    for name, why in explanations.items():
        for id in dict.fromkeys(ids[name]):
            table, facts = parts_of(story_report(why.story(id)))
            assert isinstance(table, Table) and isinstance(facts, Facts)
            yield story_key(name, id), RequestStory(f"Request {id} under {name}", _shortened(table), facts)


def _shortened(table: Table) -> Table:
    left_out = len(table.rows) - MOST_STEPS
    if left_out <= 0:
        return table
    half = MOST_STEPS // 2
    gap = ["...", "", f"{left_out:,} more lines"]
    return Table(table.header, [*table.rows[:half], gap, *table.rows[-half:]])


def _class(why: Explanation, id: int) -> str:
    return why.result.slo.class_names[int(np.asarray(why.result.slo.class_code)[id])]
