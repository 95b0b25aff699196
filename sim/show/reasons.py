"""The reasons for which requests miss their SLOs, as people read them."""

from __future__ import annotations

REASONS = {
    "hopeless": "hopeless at arrival",
    "rejected": "rejected",
    "batched": "passes longer than alone",
    "paused": "preempted",
    "blocked": "blocked by a running pass",
    "earlier": "behind earlier deadlines",
    "later": "behind later deadlines",
    "host": "decisions and hand-overs",
    "idle": "idle device",
}
