"""Events as the Chrome trace format has them: microseconds, rounded to nanoseconds."""

from __future__ import annotations

from itertools import pairwise

from flowsim.report.trace_events import Track, counter, flow, instant, overlapping, process, track, whole
from support.trace_format import check

AT = Track(1, 2)


def test_slices_that_touch_do_not_overlap() -> None:
    times = [0.1 + 1e-7 * n / 3 for n in range(50)]
    slices = [whole(AT, "pass", "pass", began_s, ended_s) for began_s, ended_s in pairwise(times)]
    check(slices)
    assert all(round(one["ts"] + one["dur"], 3) == after["ts"] for one, after in pairwise(slices))


def test_every_kind_of_event_is_one_of_the_format() -> None:
    first = whole(AT, "a", "pass", 1.0, 2.0, segment=1, end="stopped")
    slices = [first, whole(AT, "a", "pass", 5.0, 6.0, segment=2, end="completed")]
    begun, ended = overlapping(AT, "0 waiting", "text", 17, 0.5, 1.5, request=17)
    left, entered = flow(AT, "preempted", 1, (1.0, 2.0), 5.0)
    marks = [instant(AT, "chose 0", "decision", 0.25), counter(AT, "queue", 3.0, {"waiting": 2})]
    check([*process(AT, "run"), *track(AT, "passes"), *slices, begun, ended, left, entered, *marks])
    assert (begun["id"], begun["ts"], ended["ts"]) == ("0x11", 5e5, 1.5e6)
    assert (left["ts"], entered["ts"]) == (1_999_999.0, 5e6)  # within the first slice, at the begin of the second
