"""Stopwatches for operators, passes and checks; all results in seconds.

Device time is measured in place: whole layers run back to back on a busy device, with the host ahead, so that the
device never waits. A CPU has no stream; there device time is host time.
"""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, pairwise
from typing import Any

from flowsim.calibration.gpu.batch import Batch, CacheSlice, Step
from flowsim.calibration.gpu.decoder import Decoder
from flowsim.calibration.gpu.graphs import Launcher
from flowsim.calibration.gpu_engine.runner import launch, synchroniser
from flowsim.calibration.measure.repeats import RepeatLimits, typical

Samples = dict[str, list[float]]
NOTHING = Step("nothing", -1, lambda p: None)
LEAD_S = 5e-3
"""How long to keep the device busy between two timings, so that the pause has no effect."""
LIGHT_HEAT_S = 0.1
"""Longest warm-up of a size that waits for the host: it draws little power, and clocks settle soon."""
AHEAD = 1.2
"""The host is ahead of the device if the device takes this many times as long, including marks."""


class Stopwatch:
    """Marks in the work of one device, and the time between them."""

    def __init__(self, device: Any) -> None:
        self.cuda = device.type == "cuda"
        self.synchronise = synchroniser(device)

    def mark(self) -> Any:
        """The point in the stream after everything launched so far."""
        import torch

        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def wait(self, mark: Any) -> None:
        """Wait until the device has passed a mark; it may be busy with what was launched after it."""
        if self.cuda:
            mark.synchronize()

    def between(self, begin: Any, end: Any) -> float:
        """Device seconds between two marks that the device has passed."""
        return float(begin.elapsed_time(end) * 1e-3 if self.cuda else end - begin)

    def stall(self, seconds: float) -> None:
        """Keep the device busy for about `seconds`, so that the host gets ahead of it."""
        import torch

        if self.cuda:
            torch.cuda._sleep(int(seconds * 1.8e9))  # cycles, at about the clock of a data-centre GPU


def time_layers(decoder: Decoder, slices: Sequence[CacheSlice], limits: RepeatLimits) -> tuple[Samples, Samples]:
    """Device and host seconds of embed and of each layer operator: one sample per repeat, the mean over layers.

    A mean, because a pass runs all its layers: some launches are slow, and the load of experts differs by layer. The
    first layer is dropped. The time of a mark is subtracted from every operator; layers are also timed with marks only
    at their borders, and all operators are scaled by one factor so that their sum is the time of such a layer. Host
    seconds are those of launching while the device is busy.
    """
    watch, p = Stopwatch(decoder.device), decoder.prepare(slices)
    steps, first = decoder.program[:-1], 1 + len(decoder.operators)
    lead = heat_up(watch, steps, p, limits.heat_s)
    device, host = ({name: list[float]() for name in ("embed", *decoder.operators)} for _ in range(2))
    whole = list[float]()
    kept = {name: [i for i, step in enumerate(steps) if step.layer and step.operator == name] for name in device}
    for _ in limits.rounds(whole):
        between, launches = _time_borders(watch, steps, first, p, lead)
        whole.append(statistics.fmean(between) / (decoder.layers - 1))
        *times, mark_s = _time_steps(watch, [*steps, NOTHING], p, lead)
        for operator, places in kept.items():
            device[operator].append(statistics.fmean(max(times[i] - mark_s, 0.1 * times[i]) for i in places))
            host[operator].append(statistics.fmean(launches[i] for i in places))
    scale = typical(whole) / sum(typical(device[name]) for name in decoder.operators)
    return device | {name: [scale * s for s in device[name]] for name in decoder.operators}, host


def time_head(decoder: Decoder, sequences: int, limits: RepeatLimits) -> tuple[list[float], list[float]]:
    """Device and host seconds of the head over this many sequences."""
    watch, p = Stopwatch(decoder.device), decoder.prepare([CacheSlice(1, 0, i) for i in range(sequences)])
    steps = [decoder.program[0], *[decoder.program[-1]] * 3]
    lead = heat_up(watch, steps, p, limits.heat_s)
    device, host = list[float](), list[float]()
    for _ in limits.rounds(device):
        device += _time_steps(watch, steps, p, lead)[2:]
        host += _time_borders(watch, steps, 1, p, lead)[1][2:]
    return device, host


def time_attention(decoder: Decoder, p: Batch, limits: RepeatLimits) -> tuple[float, float]:
    """Median device seconds of attention with the batch's kernels, and how much longer its first call took."""
    watch = Stopwatch(decoder.device)
    steps = [s for s in decoder.program if s.operator == "attention"]
    begin = time.perf_counter()
    steps[0].run(p)
    watch.synchronise()
    first_s = time.perf_counter() - begin
    lead = heat_up(watch, steps, p, limits.heat_s)
    samples = list[float]()
    for _ in limits.rounds(samples):
        samples += _time_steps(watch, steps, p, lead)[1:]
    median = statistics.median(samples)
    return median, max(0.0, first_s - median)


def time_prepare(decoder: Decoder, tokens: int, limits: RepeatLimits) -> list[float]:
    """Host seconds of making a pass of this many tokens: its indices, their copy to the device, its buffers."""
    watch, samples = Stopwatch(decoder.device), list[float]()
    for i in limits.rounds(samples):
        watch.synchronise()
        begin = time.perf_counter()
        decoder.prepare([CacheSlice(tokens)])
        samples += [time.perf_counter() - begin] if i else []
    return samples


def time_pass(
    launcher: Launcher, slices: Sequence[CacheSlice], limits: RepeatLimits, before: Callable[[], object] = lambda: None
) -> list[float]:
    """Wall seconds of a whole forward, from preparing to the last synchronise, checked as a runner checks it.

    It is launched by the runner's own loop, `flowsim.calibration.gpu_engine.runner.launch`. `before` is called before
    each.
    """
    once, samples = watched(launcher, slices), list[float]()
    once()
    end = time.perf_counter() + (limits.heat_s if launcher.decoder.device.type == "cuda" else 0.0)
    while time.perf_counter() < end:
        before()
        once()
    for _ in limits.rounds(samples):
        before()
        samples.append(sum(once()[:2]))
    return samples


def watched(launcher: Launcher, slices: Sequence[CacheSlice]) -> Callable[[], tuple[float, float, int]]:
    """A function that runs a forward and returns the seconds to prepare and to run it, and its number of segments."""
    synchronise, flag = synchroniser(launcher.decoder.device), threading.Event()

    def once() -> tuple[float, float, int]:
        begin = time.perf_counter()
        forward = launcher.ready(slices)
        prepared = time.perf_counter()
        segments = launch(forward, synchronise, flag.is_set)
        ended = time.perf_counter()
        launcher.next_ids(forward)
        return prepared - begin, ended - prepared, segments

    return once


def time_check(device: Any, limits: RepeatLimits) -> list[float]:
    """Host seconds that a check adds to a segment: the time of a launch-synchronise-test loop beyond its parts.

    Each round launches one kernel of about 30 us, synchronises, and tests a `threading.Event`. The kernel's device time
    and the host's time to launch it are subtracted; what remains is the start of a kernel on an idle device, the return
    of the synchronise, and the test, after which the next launch is possible.
    """
    watch, flag, kernel_s = Stopwatch(device), threading.Event(), 30e-6
    launches, rounds, trains = list[float](), list[float](), list[float]()
    for _ in range(20):
        watch.stall(1e-3)
        begin = watch.mark()
        for _ in range(20):
            t = time.perf_counter()
            watch.stall(kernel_s)
            launches.append(time.perf_counter() - t)
        end = watch.mark()
        watch.synchronise()
        trains.append(watch.between(begin, end) / 20 if watch.cuda else 0.0)
    parts = statistics.median(launches) + statistics.median(trains)
    for _ in range(limits.most * 10):
        t = time.perf_counter()
        watch.stall(kernel_s)
        watch.synchronise()
        flag.is_set()
        rounds.append(time.perf_counter() - t)
    return [max(0.0, r - parts) for r in rounds]


@dataclass(frozen=True)
class Lead:
    """What keeps the device busy while the host gets ahead of it: more of the same steps or, if need be, a stall.

    The steps are launched after each timing, so that the device is busy from one to the next: after a pause of some
    milliseconds it would run faster than a busy GPU does (`flowsim.calibration.costs.power`). The same holds for a
    stall, which is only used at sizes that wait for the host; those draw little power.
    """

    steps: Sequence[Step]
    stall_s: float

    def before(self, watch: Stopwatch) -> None:
        """Launch the stall, if there is one."""
        watch.stall(self.stall_s)

    def after(self, watch: Stopwatch, p: Batch, last: Any) -> None:
        """Launch the steps, if there are any, and wait for the mark after what was timed."""
        for step in self.steps:
            step.run(p)
        watch.wait(last)


def heat_up(watch: Stopwatch, steps: Sequence[Step], p: Batch, heat_s: float) -> Lead:
    """Run the steps until clocks and power are those of a busy GPU; returns the lead to time them with.

    The warm-up runs exactly as the timing does, since each change in load makes the power limit hunt anew. The first
    run does not count: for up to some tenths of a second it loads kernels and plans attention.
    """
    runs = [_run_marked(watch, steps, p) for _ in range(3 if watch.cuda else 1)]
    host_s, device_s = map(min, zip(*runs, strict=True))
    ahead = watch.cuda and device_s > AHEAD * host_s
    if ahead:
        lead = Lead([*islice(cycle(steps), math.ceil(len(steps) * LEAD_S / device_s))], 0.0)
        lead.after(watch, p, watch.mark())
    else:
        lead = Lead((), min(2.4 * host_s + 2e-4, 20e-3))  # twice the steps, as `_time_borders` runs them
    end = time.perf_counter() + (heat_s if ahead else min(heat_s, LIGHT_HEAT_S))
    while watch.cuda and time.perf_counter() < end:
        _time_borders(watch, steps, 0, p, lead)
        _time_steps(watch, steps, p, lead)
    return lead


def _run_marked(watch: Stopwatch, steps: Sequence[Step], p: Batch) -> tuple[float, float]:
    """Host seconds to launch the steps with marks between them, and device seconds until they are done."""
    begin, first = time.perf_counter(), watch.mark()
    for step in steps:
        step.run(p)
        watch.mark()
    host_s, last = time.perf_counter() - begin, watch.mark()
    watch.synchronise()
    return host_s, watch.between(first, last)


def _time_steps(watch: Stopwatch, steps: Sequence[Step], p: Batch, lead: Lead) -> list[float]:
    lead.before(watch)
    marks = [watch.mark()]
    for step in steps:
        step.run(p)
        marks.append(watch.mark())
    lead.after(watch, p, marks[-1])
    return [watch.between(a, b) for a, b in pairwise(marks)]


def _time_borders(
    watch: Stopwatch, steps: Sequence[Step], first: int, p: Batch, lead: Lead
) -> tuple[list[float], list[float]]:
    """Two runs back to back: device seconds of the steps from `first` on; mean host seconds to launch each step."""
    lead.before(watch)
    marks, launches = list[tuple[Any, Any]](), [list[float]() for _ in steps]
    for _ in range(2):
        for i, step in enumerate(steps):
            if i == first:
                begin = watch.mark()
            launched = time.perf_counter()
            step.run(p)
            launches[i].append(time.perf_counter() - launched)
        marks.append((begin, watch.mark()))
    lead.after(watch, p, marks[-1][1])
    return [watch.between(*pair) for pair in marks], [statistics.fmean(times) for times in launches]
