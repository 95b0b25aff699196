"""The sizes that a calibration measures: operators on a grid, whole passes off the grid."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from flowsim.calibration.costs.table_rows import GRAPH_HOST_TOKENS, parse_slices
from flowsim.calibration.measure.repeats import RepeatLimits
from flowsim.core.pass_timeline import GRAPH_STEP, graph_size
from flowsim.errors import InputError

OFF_GRID = (
    *("5@0", "23@0", "75@0", "150@0", "200@0", "300@0", "437@0", "600@0", "777@0", "1000@0", "1100@0", "1500@0"),
    *("1900@0", "2500@0", "3000@0", "3500@0", "5000@0", "6000@0", "7000@0", "7900@0", "10000@0", "14000@0"),
    *("300@1000", "512@15872", "700@3000", "1000@6000", "1500@20000", "2048@14336", "3000@50000"),
    *("300@0+700@0", "190@0+190@0+190@0+190@0+190@0", "1000@0+500@2000", "60@0+90@0+40@0", "512@8192+300@0"),
)
CHECKED = (
    *("5@0", "75@0", "150@0", "300@0", "437@0", "777@0", "1000@0", "1500@0", "2500@0", "5000@0", "7900@0"),
    *("300@1000", "1000@6000", "300@0+700@0"),
)


def _pairs(first: int, last: int, step: int) -> tuple[int, ...]:
    """Multiples of `step` from `first` to `last`, and one more than each: the times of tiled kernels jump there."""
    return tuple(n + one for n in range(first, last + 1, step) for one in (0, 1))


@dataclass(frozen=True)
class Grid:
    """The sizes to measure, in tokens, and how often."""

    tokens: tuple[int, ...] = (
        *(1, 2, 4, 8, 16, 32, 48),
        *_pairs(64, 512, 64),
        *_pairs(640, 4096, 128),
        *_pairs(4608, 8192, 512),
        *(10240, 12288, 16384, 24576, 32768),
    )
    chunk_tokens: tuple[int, ...] = (16, 128, 256, 512, 1024, 2048, 4096, 8192)
    chunk_contexts: tuple[int, ...] = (16, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072)
    sequences: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    prepared: tuple[int, ...] = (1, 16, 64, 256, 1024, 4096, 16384)
    queues: tuple[int, ...] = (1, 4, 16, 64, 256, 1024)
    proceeding: tuple[int, ...] = (64, 512, 1024, 2048, 4096, 8192)  # stopped at every operator and run on
    kernel_tokens: tuple[int, ...] = (16, 64, 256, 1024, 4096)
    kernel_contexts: tuple[int, ...] = (0, 256, 1024, 4096, 16384, 65536)
    # of each attention kernel:
    kernel_limits: RepeatLimits = field(default_factory=lambda: RepeatLimits(3, 10, 0.1, heat_s=0.05))
    passes: tuple[str, ...] = OFF_GRID
    checked_passes: tuple[str, ...] = CHECKED
    cuts: tuple[str, ...] = ("layer", "block", "operator")
    graphs: tuple[int, ...] = tuple(range(64, 2049, 64))  # recorded forwards
    graph_passes: tuple[str, ...] = ("75@0", "300@0", "437@0", "777@0", "1700@0")
    graph_limits: RepeatLimits = field(default_factory=lambda: RepeatLimits(4, 12, 0.1, heat_s=0.25))
    boost_tokens: tuple[int, ...] = (256, 512, 1024, 2048, 4096, 8192)  # also timed on an idle GPU
    rests: int = 5  # pauses before each, and before each recorded forward
    extra: int = 12  # sizes added where the line between neighbours misses by more than 2 %
    layers: int = 6  # of the stack in which operators are timed, and at most 4 where they are heavy
    expert_layers: int = 12  # the same for a mixture of experts, whose load differs by layer
    limits: RepeatLimits = field(default_factory=lambda: RepeatLimits(seconds=0.15, heat_s=0.25))
    pass_limits: RepeatLimits = field(default_factory=lambda: RepeatLimits(least=6, seconds=0.15, heat_s=0.25))

    def __post_init__(self) -> None:
        if self.layers < 2:
            raise InputError("layers", found=self.layers, expected=">= 2, since the first is not timed")
        if odd := [tokens for tokens in self.graphs if tokens != graph_size(tokens)]:
            raise InputError("graphs", found=odd[0], expected=f"multiples of {GRAPH_STEP}")

    @property
    def graphs_checked(self) -> tuple[int, ...]:
        """The recorded forwards whose launches and checks are timed; their time hardly depends on the size."""
        return tuple(tokens for tokens in self.graphs if tokens <= GRAPH_HOST_TOKENS) or self.graphs[:1]

    def within(self, longest: int) -> Grid:
        """This grid without the sizes beyond a model's longest context."""

        def sizes(values: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(n for n in values if n <= longest)

        def slices(texts: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(s for s in texts if all(t + c <= longest for t, c in parse_slices(s)))

        return replace(
            self,
            tokens=sizes(self.tokens),
            chunk_tokens=sizes(self.chunk_tokens),
            chunk_contexts=sizes(self.chunk_contexts),
            prepared=sizes(self.prepared),
            proceeding=sizes(self.proceeding),
            kernel_tokens=sizes(self.kernel_tokens),
            kernel_contexts=sizes(self.kernel_contexts),
            boost_tokens=sizes(self.boost_tokens),
            passes=slices(self.passes),
            checked_passes=slices(self.checked_passes),
            graphs=sizes(self.graphs),
            graph_passes=slices(self.graph_passes),
        )


QUICK = Grid(
    tokens=(
        *(1, 16, 64, 128, 192, 256, 384, 512, 513, 768, 1024, 1025, 1280, 1536),
        *(2048, 3072, 4096, 6144, 8192, 16384, 32768),
    ),
    chunk_tokens=(64, 512, 2048, 8192),
    chunk_contexts=(1024, 16384, 65536),
    sequences=(1, 4, 16, 64),
    prepared=(1, 256, 4096),
    queues=(1, 16, 256),
    proceeding=(64, 1024, 8192),
    kernel_tokens=(64, 512, 4096),
    kernel_contexts=(0, 1024, 16384),
    kernel_limits=RepeatLimits(3, 6, 0.06, heat_s=0.03),
    passes=("75@0", "300@0", "1100@0", "3000@0", "512@15872", "300@0+700@0"),
    checked_passes=("300@0", "1500@0"),
    graphs=(64, 128, 256, 512, 1024, 2048),
    graph_passes=("300@0",),
    graph_limits=RepeatLimits(3, 8, 0.08, heat_s=0.25),
    boost_tokens=(1024, 4096),
    rests=2,
    extra=2,
    layers=3,
    limits=RepeatLimits(3, 16, 0.06, heat_s=0.25),
    pass_limits=RepeatLimits(4, 16, 0.06, heat_s=0.25),
)
"""Fewer sizes and repeats, for about a minute."""

REPLAYED = replace(Grid(), passes=QUICK.passes, checked_passes=QUICK.checked_passes, graph_passes=QUICK.graph_passes)
"""All operator sizes and few passes, for a table whose simulation is compared with a replay."""


def midpoint(curve: list[tuple[int, float]]) -> int | None:
    """The middle of the wider interval beside the point that its neighbours' line misses most, if by more than 2 %."""
    worst, at = 0.02, None
    for (t0, y0), (t1, y1), (t2, y2) in zip(curve, curve[1:], curve[2:], strict=False):
        width, middle = max((t1 - t0, (t0 + t1) // 2), (t2 - t1, (t1 + t2) // 2))
        miss = abs(y0 + (y2 - y0) * (t1 - t0) / (t2 - t0) - y1) / y1 if y1 else 0.0
        if width >= 16 and miss > worst:
            worst, at = miss, middle
    return at
