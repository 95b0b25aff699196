"""The runner: a thread that executes passes on one device, and stops between two segments when it is signalled.

It owns the stream: nobody else launches while it runs. After every segment it waits for the device and checks for a
signal; if there is one, it says so, keeps the activations of the pass where they are, and takes the next order, which
may be to go on with a pass that it left. `launch` is also what calibration times whole passes with.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from flowsim.calibration.gpu.batch import CacheSlice
from flowsim.calibration.gpu.decoder import Decoder
from flowsim.calibration.gpu.graphs import Launcher, Ready, graph_sizes
from flowsim.calibration.gpu.quiet_host import on_core
from flowsim.core.pass_timeline import Slice, split


def synchroniser(device: Any) -> Callable[[], None]:
    """What waits until the device has done all that was launched; a CPU already has."""
    import torch

    return torch.cuda.current_stream(device).synchronize if device.type == "cuda" else lambda: None


def launch(forward: Ready, synchronise: Callable[[], None], signalled: Callable[[], bool], at: int = 0) -> int:
    """Launch a forward segment by segment, from segment `at`; after each, wait for the device and look for a signal.

    Returns:
        How many segments have run: all of them, unless `signalled()` said to stop.
    """
    p = forward.batch
    for segment in forward.segments[at:]:
        for run in segment:
            run(p)
        synchronise()
        at += 1
        if signalled():
            break
    return at


class Member(NamedTuple):
    """A stretch of one prompt in a pass: its place in the cache, and the ids of its tokens, shape [slice.tokens]."""

    slice: CacheSlice
    ids: NDArray[np.int64]


class Job:
    """A pass as the runner executes it: forwards of at most `max_batched_tokens`, and how far it has got.

    Attributes:
        began_s: when its latest stretch began; `stopped_s`: when that ended. Seconds of `time.perf_counter`.
        elapsed_s: how long it has run, up to the end of its latest stretch.
        done: tokens of the forwards that have ended, and `elapsed_s` when the last of them ended.
        next_ids: for each member that has ended, the next tokens of a forward, on the device, and its place there.
    """

    def __init__(self, members: Sequence[Member], max_batched_tokens: int) -> None:
        self._forwards = list(_forwards(members, max_batched_tokens))
        self._number = 0
        self._forward: Ready | None = None
        self._at = 0
        self.began_s = self.stopped_s = self.elapsed_s = 0.0
        self.done = (0, 0.0)
        self.next_ids: dict[int, tuple[Any, int]] = {}

    def run(self, launcher: Launcher, synchronise: Callable[[], None], signalled: Callable[[], bool]) -> bool:
        """Go on until the end (True), or until the first check or end of a forward that finds a signal (False)."""
        before_s, self.began_s = self.elapsed_s, time.perf_counter()
        complete = stopped = False
        while not (complete or stopped):
            if self._forward is None:
                chunk = self._forwards[self._number]
                self._forward, self._at = launcher.ready(chunk.slices, chunk.ids), 0
            self._at = launch(self._forward, synchronise, signalled, self._at)
            self.stopped_s = time.perf_counter()
            self.elapsed_s = before_s + self.stopped_s - self.began_s
            ended = self._at == len(self._forward.segments)
            if ended:
                self._end_forward(launcher.next_ids(self._forward))
            complete = self._number == len(self._forwards)
            stopped = not ended or signalled()
        return complete

    def _end_forward(self, next_ids: Any) -> None:
        chunk = self._forwards[self._number]
        self.next_ids |= {member: (next_ids, place) for member, place in chunk.ended}
        self._forward = None
        self.done = self.done[0] + len(chunk.ids), self.elapsed_s
        self._number += 1


class Chunk(NamedTuple):
    """One forward of a pass.

    Attributes:
        slices: what it computes, and where in the cache.
        ids: the ids of all its tokens, shape [tokens].
        ended: which members of the pass it ends: (the member's place in the pass, its slice's place here).
    """

    slices: list[CacheSlice]
    ids: NDArray[np.int64]
    ended: list[tuple[int, int]]


def _forwards(members: Sequence[Member], max_batched_tokens: int) -> Iterator[Chunk]:
    """The forwards of a pass, as `flowsim.core.pass_timeline.split` cuts it."""
    whole = [Slice(member.slice.tokens, member.slice.context) for member in members]
    place = done = 0
    for part in split(whole, max_batched_tokens):
        slices, ids, ended = list[CacheSlice](), [], []
        for one in part:
            member = members[place]
            slices.append(CacheSlice(one.tokens, one.context, member.slice.start))
            ids.append(member.ids[done : done + one.tokens])
            done += one.tokens
            if done == member.slice.tokens:
                ended.append((place, len(slices) - 1))
                place, done = place + 1, 0
        yield Chunk(slices, ids[0] if len(ids) == 1 else np.concatenate(ids), ended)


class JobOutcome(NamedTuple):
    """What the runner tells: a job has completed, has stopped at a signal, or has failed with `error`."""

    job: Job
    completed: bool
    error: BaseException | None = None


class Runner:
    """A thread that executes one job at a time; a context in which it lives.

    It should outlive the replays that it serves: handles of cuBLAS and plans of cuDNN belong to a thread, so that a new
    thread would have to make them again.

    Args:
        decoder: what it runs on.
        core: the processor core to which the thread is bound; None = any.
    """

    def __init__(self, decoder: Decoder, core: int | None = None) -> None:
        self.decoder = decoder
        self._core = core
        self._synchronise = synchroniser(decoder.device)
        self._launchers: dict[tuple[str, int], Launcher] = {}
        self._serves = ("none", 0)
        self._tell: Callable[[JobOutcome], None] = lambda outcome: None
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._signal, self._left = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="runner", daemon=True)

    def serve(self, cut: str, tell: Callable[[JobOutcome], None], graph_tokens: int = 0) -> None:
        """From now on check at `cut`, and `tell`, in its thread, when a job has completed, stopped or failed.

        Args:
            graph_tokens: record forwards of at most this many tokens as graphs, before this returns; 0 = none.
        """
        self._tell, self._serves = tell, (cut, graph_tokens)
        if self._serves not in self._launchers:
            self.call(self._make_launcher)
        self._launchers[self._serves].release()

    @property
    def crowded(self) -> int:
        """Forwards since `serve` that were not launched as graphs because their recording was in use."""
        return self._launchers[self._serves].crowded

    def _make_launcher(self, decoder: Decoder) -> Iterator[None]:
        cut, graph_tokens = self._serves
        launcher = Launcher(decoder, cut)
        yield from launcher.record(graph_sizes(graph_tokens))
        self._launchers[self._serves] = launcher

    def start(self, job: Job, *, to_next_cut: bool = False) -> None:
        """Run a job, new or stopped: to its end or a signal, or just `to_next_cut`. No other may be running."""
        if to_next_cut:
            self._signal.set()
        else:
            self._signal.clear()
        self._orders.put(partial(self._execute, job, self._launchers[self._serves], self._tell))

    def signal(self) -> None:
        """Have the running job stop at its next check."""
        self._signal.set()

    def call(self, work: Callable[[Decoder], Iterator[None] | None]) -> None:
        """Do something else in its thread, and wait for it. Whatever it raises is raised here.

        Long work yields now and then, and ends there if the runner is left in the meantime.
        """
        answers: SimpleQueue[BaseException | None] = SimpleQueue()

        def order() -> None:
            try:
                for _ in work(self.decoder) or ():
                    if self._left.is_set():
                        break
                answers.put(None)
            except BaseException as error:
                answers.put(error)

        self._orders.put(order)
        if (error := answers.get()) is not None:
            raise error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._signal.set()
        self._left.set()
        self._orders.put(None)
        self._thread.join()

    def _run(self) -> None:
        import torch

        with nullcontext() if self._core is None else on_core(self._core), torch.inference_mode():
            while (order := self._next_order()) is not None:
                order()

    def _next_order(self) -> Callable[[], None] | None:
        """Wait for it; awake if a core is this thread's own, for one that slept is slow for some milliseconds."""
        while self._core is not None:
            try:
                return self._orders.get_nowait()
            except Empty:
                time.sleep(0)  # lets the scheduler have the interpreter
        return self._orders.get()

    def _execute(self, job: Job, launcher: Launcher, tell: Callable[[JobOutcome], None]) -> None:
        try:
            completed = job.run(launcher, self._synchronise, self._signal.is_set)
            outcome = JobOutcome(job, completed)
        except BaseException as error:  # whatever the device does; the scheduler's thread raises it
            outcome = JobOutcome(job, False, error)
        tell(outcome)
