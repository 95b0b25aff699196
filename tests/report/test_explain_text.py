"""Why requests missed, on the screen."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType

import flowsim
from flowsim.core.server import ServerOptions
from flowsim.report.explain_text import explanation_report, story_report
from flowsim.results.explain import Explanation
from support.costs import pencil


def printed(report: RenderableType) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=120, markup=False, emoji=False, highlight=False).print(report)
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def why() -> Explanation:
    """Request 0 runs until 10 s, and blocks 1, which is due at 7 s and runs until 13 s."""
    trace = flowsim.Trace.of([0, 2], [10, 3], classes=["file", "text"], slo_s=[100, 5], clients=["a", "b"], name="two")
    server = ServerOptions(block_tokens=1)
    run = flowsim.run(trace, "edf:cut=none", events=True, cost=pencil(), predictor="exact", server=server)
    return flowsim.explain(run)


def test_reasons_stand_by_class() -> None:
    found = why()
    lines = printed(explanation_report(found))
    assert lines == [
        "trace built in memory: 2 requests, 0.50 req/s offered",
        "policy edf:cut=none",
        "costs pencil, given in Python; error not known",
        "SLOs of each request, from the trace: 5 s to 100 s",
        "missed 1 of 2 requests",
        "attained 50.0 %",
        "",
        "missed file text all",
        "blocked by a running pass 0 1 1",
        "",
        "could be in time file text all",
        "only in place of others 0 1 1",
        "",
        "longest TTFT 11 s: request 1",
        "worst class text",
        "Jain's index 0.754 over slowdown: TTFT / the time alone",
        "client a slowed down 1 times on average",
        "client b slowed down 3.67 times on average",
    ]


def test_a_story_follows_the_time() -> None:
    assert printed(story_report(why().story(1))) == [
        "time lasted request 1",
        "2.000 s arrived, text: 3 tokens, at least 3 s alone, due at 7.000 s",
        "2.000 s 8 s blocked: 0",
        "10.000 s 3 s ran",
        "13.000 s first token, 6 s too late",
        "",
        "reason blocked by a running pass",
        "could be in time only in place of others",
        "parts alone 3 s, blocked 8 s",
    ]
