"""Stopwatches for forwards recorded as CUDA graphs (`flowsim.calibration.gpu.graphs`); all results in seconds.

How fast a GPU at its power limit runs follows from what it has just done (`flowsim.calibration.costs.power`). So a
recording
is timed twice: behind the longest one, which holds a GPU at its limit whatever comes next, as one of a short prompt may
not by itself; and after a pause.
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

from flowsim.calibration.gpu.batch import CacheSlice
from flowsim.calibration.gpu.graphs import Launcher, Ready
from flowsim.calibration.measure.rested_gpu import spin
from flowsim.calibration.measure.stopwatch import Limits, Stopwatch, watched

PAUSE_S = 0.1
"""A pause after which the use of a GPU is far below its threshold."""
STALL_S = 2e-3
"""How long a rested device waits for the host to have launched."""


class RecordingTimes(NamedTuple):
    """What a recorded forward takes on the device, seconds, samples each.

    Attributes:
        busy: behind the longest recording.
        rested: after a pause; none on a CPU, which has no power limit of this kind.
    """

    busy: list[float]
    rested: list[float]


class GraphChecks(NamedTuple):
    """What a recorded forward takes beside its device time, seconds, samples each.

    Attributes:
        prepare: on the host, to fill in what it is to compute and to launch it, all segments together.
        check: what each segment takes beyond that, checked at every operator.
    """

    prepare: list[float]
    check: list[float]


def time_recording(launcher: Launcher, tokens: int, longest: int, limits: Limits, rests: int) -> RecordingTimes:
    """Time the recorded forward of so many tokens, after a pause so often; `longest` are those of the longest one."""
    watch, times = Stopwatch(launcher.decoder.device), RecordingTimes([], [])
    load = launcher.ready([CacheSlice(longest)])
    forward = load if tokens == longest else launcher.ready([CacheSlice(tokens)])
    if watch.cuda:
        _timed(watch, load)  # the first replay takes longer
        load_s = _timed(watch, load)
        for _ in range(math.ceil(limits.heat_s / load_s)):
            _run(load)
    for _ in limits.rounds(times.busy):
        _run(load)
        times.busy.append(_timed(watch, forward))
    for _ in range(rests if watch.cuda else 0):
        spin(PAUSE_S)
        watch.stall(STALL_S)
        times.rested.append(_timed(watch, forward))
    for held in {id(f): f for f in (load, forward)}.values():
        launcher.next_ids(held)
    return times


def time_graph_checks(whole: Launcher, checked: Launcher, tokens: int, limits: Limits) -> GraphChecks:
    """Time the recording of so many tokens launched whole, twice behind each other, and checked at every operator.

    Twice takes a device time longer than once, so that no other clock is needed to tell what the launch takes; what
    the checked one takes longer is its checks. They take turns, so that what they differ by is neither the host's nor
    the GPU's unrest.
    """
    slices, found, walls = [CacheSlice(tokens)], GraphChecks([], []), list[float]()
    once, once_checked = watched(whole, slices), watched(checked, slices)
    watch = Stopwatch(whole.decoder.device)
    for _ in limits.rounds(walls):
        prepare_s, run_s, _ = once()
        _, checked_s, segments = once_checked()
        twice_s = _twice(watch, whole, slices)
        walls.append(checked_s)
        check_s = max(0.0, checked_s - run_s) / max(segments - 1, 1)
        found.check.append(check_s)
        found.prepare.append(prepare_s + max(0.0, 2 * run_s - twice_s - check_s))
    return found


def _twice(watch: Stopwatch, launcher: Launcher, slices: list[CacheSlice]) -> float:
    """Wall seconds of a recorded forward launched twice, from the first launch until the device has ended both."""
    forward = launcher.ready(slices)
    begin = time.perf_counter()
    _run(forward)
    _run(forward)
    watch.synchronise()
    seconds = time.perf_counter() - begin
    launcher.next_ids(forward)
    return seconds


def _run(forward: Ready) -> None:
    for segment in forward.segments:
        for step in segment:
            step(forward.batch)


def _timed(watch: Stopwatch, forward: Ready) -> float:
    """Device seconds of a forward, which is through when this returns."""
    begin = watch.mark()
    _run(forward)
    end = watch.mark()
    watch.wait(end)
    return watch.between(begin, end)
