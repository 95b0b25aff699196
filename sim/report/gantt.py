"""The worst seconds of a run: who ran, who was paused or waited, and who missed its SLO and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from flowsim.core.events import pauses, stretches
from flowsim.io.counts import number_of
from flowsim.rendering.format import seconds
from flowsim.rendering.reasons import REASONS
from flowsim.rendering.run_parts import Bar, Gantt, GanttRow, GanttView
from flowsim.report.instance_tracks import named
from flowsim.report.request_tracks import Stay, stays_in
from flowsim.report.timeline_bounds import until
from flowsim.results.explain import Explanation
from flowsim.results.result import RunResult
from flowsim.validation.compared import ComparedCase

LENGTHS_S = (20.0, 10.0, 5.0, 2.0, 1.0)
"""How long the worst seconds may be."""
REAL_LENGTHS_S = (2.0, 1.0, 0.5, 0.2)
"""How long a window of simulated and real runs may be: preemptions are to be seen."""
MOST_REQUESTS = 48
"""Requests that a chart shows."""
Window = tuple[float, float]


def gantt_of(explanations: Mapping[str, Explanation], window: Window) -> Gantt:
    """What each of several policies did with the same requests in a window; `explanations` by policy."""
    first = next(iter(explanations.values())).result
    return Gantt(*window, first.slo.class_names, [_view(name, why, window) for name, why in explanations.items()])


def worst_window(explanations: Iterable[Explanation]) -> Window:
    """From when to when most requests missed their deadline, under the policy with most misses, seconds.

    Without a miss, when most waited. It is as long as its requests fit into a chart.
    """
    why = max(explanations, key=lambda why: len(why.missed))
    result = why.result
    arrival_s, until_s = result.trace.arrival_s, until(result)
    if len(why.missed):
        moments_s = np.sort(arrival_s[why.missed] + result.slo.ttft_slo_s[why.missed])
    else:
        moments_s = _busiest(result)
    for length_s in LENGTHS_S:
        window = _most_of(moments_s, length_s)
        if ((arrival_s <= window[1]) & (until_s >= window[0])).sum() <= MOST_REQUESTS:
            break
    return window


def _most_of(moments_s: np.ndarray, length_s: float) -> Window:
    """The window of this length, a tenth of it before the first, with most of these moments, which ascend."""
    counts = np.searchsorted(moments_s, moments_s + length_s, "right") - np.arange(len(moments_s))
    first_s = max(float(moments_s[int(counts.argmax())]) - 0.1 * length_s, 0.0)
    return first_s, first_s + length_s


def real_gantt(compared: ComparedCase) -> Gantt | None:
    """The seconds of a case in which most passes were paused, or else most requests waited.

    Above its line the device as it was simulated and, under it, in each real run; below the line the same of each
    request that ran. None without the events of a real run.
    """
    results = {name: result for name, result in compared.results.items() if result.outcome.events is not None}
    if not results:
        return None
    stopped_s = sorted(pause.stopped_s for result in results.values() for pause in pauses(result.events[0]))
    moments_s = np.array(stopped_s) if stopped_s else _busiest(compared.simulated)
    stays = {name: stays_in(result) for name, result in results.items()}
    for length_s in REAL_LENGTHS_S:
        window = _most_of(moments_s, length_s)
        ids = sorted({id for those in stays.values() for id, own in those.items() if _within(own, window)})
        if len(ids) * len(results) <= MOST_REQUESTS:
            break
    devices = [replace(row, name=name) for name, result in results.items() for row in _instances(result, window)]
    rows = [
        replace(
            _request("", result, id, stays[name].get(id, ()), ""),
            name=f"{id} {name}",
            missed="" if result.attained[id] else "no first token by then",
            story="",
        )
        for id in ids
        for name, result in results.items()
    ]
    where = "most passes were paused" if stopped_s else "most requests waited"
    note = f"{number_of(len(ids), 'request')} that ran from {window[0]:.3f} s to {window[1]:.3f} s, where {where}."
    return Gantt(*window, compared.simulated.slo.class_names, [GanttView(compared.case.name, devices, rows, note)])


def _within(stays: Sequence[Stay], window: Window) -> bool:
    """Whether a request ran or was paused in the window."""
    return any(stay.began_s <= window[1] and stay.ended_s >= window[0] for stay in stays)


def requests_in(why: Explanation, window: Window) -> list[int]:
    """The requests that a chart of this window shows, by arrival.

    If not all have room, those that run or miss their deadline in it come first, then others that miss it at all.
    """
    result, arrival_s, until_s = why.result, why.result.trace.arrival_s, until(why.result)
    there = np.flatnonzero((arrival_s <= window[1]) & (until_s >= window[0]))
    missed = np.isin(there, why.missed)
    due_s = (arrival_s + result.slo.ttft_slo_s)[there]
    now = (result.metrics.started_s[there] <= window[1]) | (missed & (window[0] <= due_s) & (due_s <= window[1]))
    kept = there[np.lexsort((~missed, ~now))][:MOST_REQUESTS]
    return sorted(kept.tolist(), key=lambda id: (arrival_s[id], id))


def _busiest(result: RunResult) -> np.ndarray:
    """When most requests waited, shape [1], seconds."""
    started_s = result.metrics.started_s
    left_s = np.sort(np.where(np.isnan(started_s), until(result), started_s))
    waiting = np.arange(1, len(left_s) + 1) - np.searchsorted(left_s, result.trace.arrival_s, "right")
    return result.trace.arrival_s[[int(waiting.argmax())]]


def _view(name: str, why: Explanation, window: Window) -> GanttView:
    result = why.result
    ids = requests_in(why, window)
    stays = stays_in(result)
    arrival_s, until_s = result.trace.arrival_s, until(result)
    present = int(((arrival_s <= window[1]) & (until_s >= window[0])).sum())
    reasons = dict(zip(why.missed.tolist(), why.reasons, strict=True))
    missed = sum(id in reasons for id in ids)
    shown = number_of(present, "request") if present == len(ids) else f"{len(ids)} of {number_of(present, 'request')}"
    note = f"{shown} from {window[0]:.3f} s to {window[1]:.3f} s, of which {missed} missed the SLO."
    rows = [_request(name, result, id, stays.get(id, ()), reasons.get(id, "")) for id in ids]
    return GanttView(name, list(_instances(result, window)), rows, note)


def _instances(result: RunResult, window: Window) -> Iterator[GanttRow]:
    for number, events in enumerate(result.events):
        bars = [
            Bar(
                began_s,
                ended_s,
                "running",
                f"request{'s' * (len(members) > 1)} {named(members)}",
                int(result.slo.class_code[members[0]]),
            )
            for began_s, ended_s, members, _ in stretches(events)
            if began_s <= window[1] and ended_s >= window[0]
        ]
        yield GanttRow("device" if len(result.events) == 1 else f"instance {number}", bars)


def _request(policy: str, result: RunResult, id: int, stays: Sequence[Stay], reason: str) -> GanttRow:
    colour = int(result.slo.class_code[id])
    arrival_s, slo_s = float(result.trace.arrival_s[id]), float(result.slo.ttft_slo_s[id])
    until_s, started_s = float(until(result)[id]), float(result.metrics.started_s[id])
    name = f"{id} {result.slo.class_names[colour]}"
    about = f"request {name}: {int(result.trace.input_length[id]):,} tokens, TTFT SLO {_slo(slo_s)}"
    waited_s = until_s if started_s != started_s else started_s
    bars = [Bar(arrival_s, waited_s, "waiting", about, colour)]
    bars += [Bar(stay.began_s, min(stay.ended_s, until_s), stay.state, about, colour) for stay in stays]
    due_s = None if slo_s != slo_s else arrival_s + slo_s
    return GanttRow(name, bars, due_s, REASONS[reason] if reason else "", story_key(policy, id))


def story_key(policy: str, id: int) -> str:
    """The key of a request's story."""
    return f"{id} under {policy}"


def _slo(slo_s: float) -> str:
    return "none" if slo_s != slo_s else seconds(slo_s)
