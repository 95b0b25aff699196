"""Stopwatches for forwards recorded as CUDA graphs (`flowsim.calibration.gpu.graphs`); all results in seconds.

How fast a GPU at its power limit runs depends on what it has just done (`flowsim.calibration.costs.power`). So a
recording is timed twice: right after the longest one, which holds the GPU at its limit, as a short one may not by
itself; and after a pause.
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

from flowsim.calibration.gpu.batch import CacheSlice
from flowsim.calibration.gpu.graphs import Launcher, Ready
from flowsim.calibration.measure.idle_gpu import spin
from flowsim.calibration.measure.repeats import RepeatLimits
from flowsim.calibration.measure.stopwatch import Stopwatch, watched

PAUSE_S = 0.1
"""A pause after which the utilisation of a GPU is far below its threshold."""
STALL_S = 2e-3
"""How long an idle device is stalled until the host has launched."""


class RecordingTimes(NamedTuple):
    """Device seconds of a recorded forward, one per sample.

    Attributes:
        busy: right after the longest recording.
        rested: after a pause; none on a CPU, which has no such power limit.
    """

    busy: list[float]
    rested: list[float]


class GraphChecks(NamedTuple):
    """Seconds that a recorded forward takes beyond its device time, one per sample.

    Attributes:
        prepare: host time to fill in its inputs and to launch all segments.
        check: additional time of each segment if it is checked at every operator.
    """

    prepare: list[float]
    check: list[float]


def time_recording(launcher: Launcher, tokens: int, longest: int, limits: RepeatLimits, rests: int) -> RecordingTimes:
    """Time the recorded forward of `tokens`, after the one of `longest` tokens and, `rests` times, after a pause."""
    watch, times = Stopwatch(launcher.decoder.device), RecordingTimes([], [])
    load = launcher.ready([CacheSlice(longest)])
    forward = load if tokens == longest else launcher.ready([CacheSlice(tokens)])
    if watch.cuda:
        _timed(watch, load)  # the first replay takes longer
        load_s = _timed(watch, load)
        for _ in range(math.ceil(limits.heat_s / load_s)):
            launch_all(load)
    for _ in limits.rounds(times.busy):
        launch_all(load)
        times.busy.append(_timed(watch, forward))
    for _ in range(rests if watch.cuda else 0):
        spin(PAUSE_S)
        watch.stall(STALL_S)
        times.rested.append(_timed(watch, forward))
    for held in {id(f): f for f in (load, forward)}.values():
        launcher.next_ids(held)
    return times


def time_graph_checks(whole: Launcher, checked: Launcher, tokens: int, limits: RepeatLimits) -> GraphChecks:
    """Time the recording of `tokens` launched whole, twice back to back, and checked at every operator.

    Two runs take one device time more than one run, so that the launch can be told without another clock; the checked
    run takes longer by its checks. The three alternate, so that they do not differ by what else the host or the GPU
    does.
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
    """Wall seconds from the first launch of a recorded forward that is launched twice until both have ended."""
    forward = launcher.ready(slices)
    begin = time.perf_counter()
    launch_all(forward)
    launch_all(forward)
    watch.synchronise()
    seconds = time.perf_counter() - begin
    launcher.next_ids(forward)
    return seconds


def launch_all(forward: Ready) -> None:
    """Launch every step of a forward."""
    for segment in forward.segments:
        for step in segment:
            step(forward.batch)


def _timed(watch: Stopwatch, forward: Ready) -> float:
    """Device seconds of a forward, which has ended when this returns."""
    begin = watch.mark()
    launch_all(forward)
    end = watch.mark()
    watch.wait(end)
    return watch.between(begin, end)
