"""Small forwards recorded as CUDA graphs: the host launches each segment in one call.

A graph reads and writes fixed addresses. So there is one recording for each multiple of GRAPH_STEP tokens, with its own
buffers, and a forward of one prompt without context runs as the smallest recording that holds it, padded. A paused
forward keeps its buffers until it ends; meanwhile another of that size is launched operator by operator.

Like vLLM and SGLang, which record small batches too, this removes the host's launches from the pass: they jitter, and
they dominate the time of a short prompt. https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from flowsim.calibration.gpu.batch import Batch, CacheSlice, Ids
from flowsim.calibration.gpu.decoder import Decoder
from flowsim.core.pass_timeline import GRAPH_STEP, graph_size

Segments = Sequence[Sequence[Callable[[Batch], None]]]


class Ready(NamedTuple):
    """A forward that is ready to be launched: its batch, and the functions to call, segment by segment."""

    batch: Batch
    segments: Segments


class Launcher:
    """Prepares forwards for one cut: as recorded graphs where there are any, else operator by operator.

    To be created and used in the thread that launches, under `torch.inference_mode()`.

    Args:
        decoder: runs the forwards.
        cut: after which operators a segment ends.
        sizes: tokens of the recordings, multiples of GRAPH_STEP.

    Attributes:
        crowded: forwards that were not launched as graphs because their recording was in use.
    """

    def __init__(self, decoder: Decoder, cut: str, sizes: Sequence[int] = ()) -> None:
        self.decoder, self.crowded = decoder, 0
        self._segments = decoder.segments(cut)
        self._recordings: dict[int, Ready] = {}
        self._taken: set[int] = set()
        for _ in self.record(sizes):
            pass

    def ready(self, slices: Sequence[CacheSlice], ids: Ids | None = None) -> Ready:
        """A forward over these slices; `ids` are their tokens, concatenated, or random ones.

        Raises:
            InputError: as in `Decoder.prepare`.
        """
        only, size = slices[0], graph_size(slices[0].tokens)
        recording = self._recordings.get(size) if len(slices) == 1 and not only.context else None
        if recording is None or size in self._taken:
            self.crowded += recording is not None
            return Ready(self.decoder.prepare(slices, ids), self._segments)
        self._taken.add(size)
        self.decoder.refill(recording.batch, only, ids)
        return recording

    def release(self) -> None:
        """Free the recordings held by forwards that will not be finished, and reset the count of crowded ones."""
        self._taken.clear()
        self.crowded = 0

    def next_ids(self, forward: Ready) -> Any:
        """The next token of each slice of a forward that has ended, [slices]; frees its recording."""
        size = forward.batch.tokens
        if forward is not self._recordings.get(size):
            return forward.batch.next_ids
        self._taken.discard(size)
        return forward.batch.next_ids.clone()

    def record(self, sizes: Sequence[int]) -> Iterator[None]:
        """Record these sizes, multiples of GRAPH_STEP; yields after each, where the caller may stop."""
        import torch

        if not sizes:
            return
        gc.collect()
        if self.decoder.device.type != "cuda":
            for size in sizes:
                self._recordings[size] = Ready(self.decoder.prepare([CacheSlice(size)], own=True), self._segments)
                yield
            return
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())  # which may still draw the weights
        with torch.cuda.stream(stream):
            for size in sizes:
                batch = self.decoder.prepare([CacheSlice(size)], own=True)
                self.decoder.run(batch)  # so that kernels' plans and workspaces are not part of a graph
                stream.synchronize()
                pool = torch.cuda.graph_pool_handle()
                self._recordings[size] = Ready(batch, [[_graph(part, batch, pool)] for part in self._segments])
                yield
        torch.cuda.synchronize()


def graph_sizes(graph_tokens: int) -> range:
    """Tokens of all recordings for forwards of at most `graph_tokens`."""
    return range(GRAPH_STEP, graph_size(graph_tokens) + 1, GRAPH_STEP)


def _graph(steps: Sequence[Callable[[Batch], None]], batch: Batch, pool: Any) -> Callable[[Batch], None]:
    """A graph of these steps. Graphs of one batch share a pool, since they are replayed in the order of recording."""
    import torch

    graph = torch.cuda.CUDAGraph()
    graph.capture_begin(pool=pool, capture_error_mode="thread_local")
    try:
        for step in steps:
            step(batch)
    finally:
        graph.capture_end()

    def replay(p: Batch) -> None:
        graph.replay()

    return replay
