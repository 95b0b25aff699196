"""The reasons for which requests miss their SLOs, and whether they could have been served, as people read them."""

from __future__ import annotations

from collections.abc import Mapping

REASONS = {
    "hopeless": "hopeless at arrival",
    "alone": "late even alone",
    "rejected": "rejected",
    "frontend": "before the scheduler had it",
    "return": "way back of the first token",
    "stack": "host time of the stack",
    "batched": "batched with others",
    "slower": "in chunks, with checks, on a busy GPU",
    "paused": "preempted",
    "between": "between its chunks",
    "blocked": "blocked by a running pass",
    "earlier": "behind earlier deadlines",
    "later": "behind later deadlines",
    "mispredicted": "mispredicted",
    "host": "decisions and hand-overs",
    "idle": "idle device",
}
SERVABLE = {
    "yes": "yes, and no fewer in all",
    "instead": "only in place of others",
    "no": "no: late even alone",
}


def reason_rows(by_class: Mapping[str, Mapping[str, int]], told_of: Mapping[str, str]) -> list[tuple[str, ...]]:
    """One row for each of `told_of` that there is: what it is called, and how many of each class and of all."""
    rows = {text: [counts[name] for counts in by_class.values()] for name, text in told_of.items()}
    return [(text, *(f"{n:,}" for n in (*counts, sum(counts)))) for text, counts in rows.items() if sum(counts)]
