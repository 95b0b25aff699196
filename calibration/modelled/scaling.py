"""Scaling: what operators take on another GPU or in another shape, from those that were measured.

A matrix product and attention reach a share of their roofline that depends on their shape and size. At another shape
that share is the geometric mean of the measured ones, of which the nearest counts most; on another GPU it stays. Other
operators only move values, and few are bound by the memory: they take as long as measured ones that move as many
bytes, longer on fewer multiprocessors, and no less than the memory allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.fit import fit_passes
from flowsim.calibration.costs.gpus import Gpu
from flowsim.calibration.costs.models import ModelSpec
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.modelled.roofline import Attention, Moved, Product, Shape, shape_of
from flowsim.errors import InputError

SAME = 0.1
"""Shapes whose sizes differ by less than this (in logarithms) count almost equally: it is added to every distance."""
LARGE = (2048, 4096, 8192, 16384)
"""Tokens from which `STREAMING` operators are bound by the memory."""
STREAMING = ("embed", "norm_mlp")

Seconds = Callable[[float, int], float]
"""Of tokens and context."""


class Measured(NamedTuple):
    """One rank of a model, and its costs."""

    shard: ModelSpec
    costs: CostModel

    @classmethod
    def of(cls, table: OperatorTable) -> Measured:
        """What this table measured."""
        rank = table.provenance.rank()
        return cls(rank.spec.shard(rank.tp), fit_passes(table))

    def cost(self, operator: str) -> Seconds | None:
        """The device time of an operator; None if it was not measured."""
        if operator == "attention":
            return self.costs.attention  # type: ignore[return-value]
        cost = self.costs.device.get(operator)
        return None if cost is None else lambda tokens, context: cost(tokens)  # type: ignore[arg-type]


class Known(NamedTuple):
    """A measured operator: its shape, its cost, and its weight among the others."""

    shape: Shape
    cost: Seconds
    weight: float


class Scaling:
    """From what was measured on one GPU to another.

    Args:
        source: the datasheet of the GPU of the tables.
        tables: measured there.
        target: the datasheet of the other GPU, or the same.
    """

    def __init__(self, source: Gpu, tables: Iterable[OperatorTable], target: Gpu) -> None:
        self._source, self._target = source, target
        self._measured = [Measured.of(table) for table in tables]

    def cost(self, shard: ModelSpec, operator: str) -> Seconds:
        """The device time of an operator of this rank on the target, in a mean layer.

        InputError: it was measured for no model.
        """
        costs = [
            (layers, self._cost(kind, operator)) for layers, kind in shard.layer_kinds if operator in kind.operators
        ]
        return lambda tokens, context: sum(layers * cost(tokens, context) for layers, cost in costs) / shard.layers

    def _cost(self, shard: ModelSpec, operator: str) -> Seconds:
        """The same of a rank whose layers are all alike."""
        shape = shape_of(shard, operator)
        known = self._known(shape, operator)
        return self._moving(shape, known) if isinstance(shape, Moved) else self._computing(shape, known)

    def _known(self, shape: Shape, operator: str) -> list[Known]:
        """What was measured of this operator, weighted by the inverse square of the distance of its shape.

        Source: Shepard, A two-dimensional interpolation function for irregularly-spaced data, 1968.
        """
        known = []
        for measured in self._measured:
            if (cost := measured.cost(operator)) is not None:
                other = shape_of(measured.shard, operator)
                distance = math.dist([math.log(size) for size in shape], [math.log(size) for size in other])
                known.append(Known(other, cost, (distance + SAME) ** -2))
        if not known:
            raise InputError(operator, "is in no measured table of this GPU")
        return known

    def _computing(self, shape: Product | Attention, known: list[Known]) -> Seconds:
        """By the share of the roofline. What attention takes for one token is latency, which stays."""
        latency_s = _mean(known, lambda one: one.cost(1, 0)) if isinstance(shape, Attention) else 0.0

        def share(one: Known, tokens: int, context: int) -> float:
            return one.shape.work(tokens, context).seconds(self._source) / one.cost(tokens, context)

        def seconds(tokens: float, context: int) -> float:
            work = shape.work(int(tokens), context)
            least_s = work.seconds(self._source)
            source_s = least_s / _mean(known, lambda one: share(one, int(tokens), context))
            return source_s + max(source_s - latency_s, 0.0) * (work.seconds(self._target) / least_s - 1)

        return seconds

    def _moving(self, shape: Moved, known: list[Known]) -> Seconds:
        """By the bytes that are moved, each multiprocessor at its rate, up to the bandwidth that the memory reaches."""
        latency_s = _mean(known, lambda table: table.cost(1, 0))
        slower, reached = self._source.multiprocessors / self._target.multiprocessors, self._reached()

        def seconds(tokens: float, context: int) -> float:
            source_s = _mean(known, lambda table: table.cost(tokens * shape.bytes / table.shape.work(1).bytes, 0))
            target_s = source_s + max(source_s - latency_s, 0.0) * (slower - 1)
            return max(target_s, shape.work(int(tokens)).seconds(self._target) / reached)

        return seconds

    def _reached(self) -> float:
        """The largest share of the memory's bandwidth that was measured."""
        return max(
            shape_of(table.shard, name).work(tokens).seconds(self._source) / cost(tokens, 0)
            for table in self._measured
            for name in STREAMING
            if (cost := table.cost(name))
            for tokens in LARGE
        )


def _mean(known: Iterable[Known], value: Callable[[Known], float]) -> float:
    """The weighted geometric mean of a value > 0 of each."""
    whole = sum(one.weight for one in known)
    return math.exp(sum(one.weight * math.log(value(one)) for one in known) / whole)
