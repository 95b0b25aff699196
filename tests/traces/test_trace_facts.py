"""What a trace holds, as plain values, as a page, and as a table."""

import json

from flowsim.traces import Trace
from support.traces import small


def test_describe_counts():
    facts = small().describe()
    assert facts["classes"] == {"text": 2, "file": 1}
    assert [facts[key] for key in ("requests", "span_s", "rate_rps", "without_class")] == [4, 4.0, 0.75, 1]
    assert [facts[f"input_{key}"] for key in ("mean", "p50", "p99", "max")] == [250.0, 250.0, 397.0, 400]
    assert json.dumps(facts)


def test_it_shows_itself():
    assert repr(small()) == "Trace('small', 4 requests, 4 s, 0.75 req/s)"
    page = Trace.of([0, 1], [1, 2], classes=["<b>", "x"])._repr_html_()
    assert "<th>requests</th><td>2</td>" in page
    assert "&lt;b&gt; 1, x 1" in page


def test_to_frame():
    frame = small().to_frame()
    assert list(frame.columns) == ["arrival_s", "input_length", "output_length", "class"]
    assert frame["class"].tolist()[:2] == ["text", "file"]
    assert frame["class"].isna().tolist() == [False, False, True, False]
    assert Trace.of([0], [1]).to_frame()["class"].isna().all()
