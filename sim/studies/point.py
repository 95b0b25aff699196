"""A point of a study: the options of one run, the key of its inputs, and the run itself with its files in a folder."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

import flowsim
from flowsim.clairvoyant.bound import Bound, Bounding
from flowsim.errors import InputError, unknown
from flowsim.io.folders import Stamp, leads_somewhere, stamp_of
from flowsim.policies.registry import PolicySpec, canonical
from flowsim.results.definitions.files import digest
from flowsim.results.result import RunResult
from flowsim.runs.bound import ANY_POLICY, clairvoyant_of
from flowsim.runs.digests import cost_digest, file_digest, policy_digest
from flowsim.runs.options import RunOptions, columns, files, flat, from_values, value_of, with_values
from flowsim.runs.prepare import Given, Prepared, prepare, read_input
from flowsim.runs.run import execute
from flowsim.runs.workload import WorkloadOptions, blamed, replayed
from flowsim.traces.trace import Trace

RANGE = ("from", "to", "step")
MOST_VALUES = 1_000_000
"""The most values of an axis, and points of a study."""


@dataclass(frozen=True)
class Point:
    """One point.

    Attributes:
        options: those of its run.
        policy_options: the options of the policy that the study names by path, as policy.OPTION.
    """

    options: RunOptions
    policy_options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Point:
        """The point of plain values by path or in sections. InputError as `from_values` raises it."""
        by_path = flat(values)
        own = {path: value for path, value in by_path.items() if path.startswith("policy.")}
        return cls(from_values(by_path), own)

    @property
    def policy(self) -> str:
        """The whole specification of its policy."""
        return str(self.options.policy)

    @property
    def columns(self) -> dict[str, Any]:
        """All options as the plain columns of a row; `policy` is the whole specification."""
        return columns(self.options) | dict(self.policy_options)

    def at_rate(self, rate_rps: float) -> Point:
        """The same requests at another rate, requests per second."""
        workload = msgspec.structs.replace(self.options.workload, rate_scale=1.0, rate_rps=rate_rps)
        return Point(with_values(self.options, {"workload": workload}), self.policy_options)

    def key(self, root: str, kind: str = "") -> str:
        """SHA-256 of all inputs: these options, of the files that they name the content, the `kind` of run; and of the
        definitions of the metrics."""
        options, values = self.options, columns(self.options) | {"policy": canonical(self.options.policy)}
        named = {path: Path(root, values[path]) for path in files() if isinstance(values[path], str)}
        held = {path: place for path, place in named.items() if leads_somewhere(place) and place.is_file()}
        contents = {path: file_digest(str(place), stamp_of(place)) for path, place in held.items()}
        folder = options.cost and _place(root, options.cost)
        costs = cost_digest(folder, options.model, options.gpu, options.tp)
        values["bound"] = bool(options.bound)  # a study states none unless it is asked for
        values |= dict.fromkeys([*contents, *(["cost"] if folder and leads_somewhere(folder) else [])])
        inputs = [values, contents, costs, policy_digest(options.policy.name)]
        parts = [flowsim.__version__, digest(), kind, *inputs]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def prepared(point: Point, root: str) -> Prepared:
    """All that the run of a point needs; its files are looked up in the folder `root`, and read once.

    InputError as `prepare` raises it.
    """
    options = _rooted(point.options, root)
    with blamed("trace"):
        trace = _trace(options.trace, stamp_of(options.trace), options.seed, *_reading(options.workload))
    return prepare(options, Given(trace))


def window_of(trace: str, root: str, workload: WorkloadOptions, *, seed: int) -> Trace:
    """The requests of a trace, or those in the workload's window of it, at its own rate."""
    whole = _trace(_place(root, trace), stamp_of(_place(root, trace)), seed, *_reading(workload))
    return replayed(whole, WorkloadOptions(window=workload.window), seed)


def check(point: Point, root: str) -> Prepared:
    """Do all that a run does before it simulates. InputError: what a run of this point would reject."""
    return prepared(point, root)


def notices(ready: Prepared) -> str | None:
    """What to say of the trace of a point, one line each: how it was read, and what the model cannot serve of it."""
    return "\n".join([*ready.loaded.notices, *ready.rejections]) or None


def bounding_of(point: Point, root: str) -> Bounding | None:
    """What states the upper bound beside the run of a point, if its options ask for it and it is not cut off.

    Runs that differ in their policy and predictor alone share one bound.
    """
    if not point.options.bound or point.options.until_s is not None:
        return None
    plain = Point(with_values(point.options, {"policy": PolicySpec(ANY_POLICY), "predictor": "exact"}))
    shared = _Keyed(plain.key(root), plain)

    def beside(attained: int) -> Bound:
        upper = _upper(shared, root)
        return msgspec.structs.replace(upper, least=attained)

    return beside


@dataclass(frozen=True)
class _Keyed:
    """A point that is the same as another of this key."""

    key: str
    point: Point = field(compare=False)


@lru_cache(maxsize=1024)
def _upper(point: _Keyed, root: str) -> Bound:
    return clairvoyant_of(prepared(point.point, root)).upper


def run_point(point: Point, root: str) -> RunResult:
    """The run of a point; its files are looked up in the folder `root`. Raises what `flowsim.run` raises."""
    return execute(prepared(point, root))


def _reading(workload: WorkloadOptions) -> tuple[str | None, bool, bool]:
    """What decides how a trace file is read."""
    return workload.format, workload.spread, workload.drop_failed


@lru_cache(maxsize=4)
def _trace(name: str, stamp: Stamp, seed: int, format: str | None, spread: bool, drop_failed: bool) -> Trace:
    workload = {"format": format, "spread": spread, "drop_failed": drop_failed}
    return read_input(from_values({"trace": name, "seed": seed, "workload": workload}))


def _rooted(options: RunOptions, root: str) -> RunOptions:
    """The options with the files and folders that they name as they are found from anywhere."""
    named = {path: value_of(options, path) for path in files()}
    return with_values(options, {path: _place(root, name) for path, name in named.items() if isinstance(name, str)})


def _place(root: str, name: str) -> str:
    """The file or folder of this name in `root`, or the name itself when there is none."""
    place = Path(root, name)
    return str(place) if leads_somewhere(place) else name


def values_of_range(name: str, given: Mapping[str, Any]) -> list[Any]:
    """The values of {from, to, step} with the end included, of an option; of windows, their edges.

    Raises:
        InputError: the range is malformed, or has more than MOST_VALUES.
    """
    for key in given:
        if key not in RANGE:
            raise unknown("key of a range", str(key), RANGE)
    first, last, step = (given.get(key, 1 if key == "step" else None) for key in RANGE)
    numbers = [x for x in (first, last, step) if isinstance(x, int | float) and not isinstance(x, bool)]
    if len(numbers) < 3 or not (step > 0 and first < last):
        raise InputError(name, found=dict(given), expected="{from: FIRST, to: LAST, step: STEP} with rising numbers")
    steps = (last - first) / step + 1e-9
    if not steps < MOST_VALUES:
        raise InputError(name, f"has {steps:,.0f} values", expected=f"<= {MOST_VALUES:,}")
    values = [first + step * k for k in range(int(steps) + 1)]
    if not all(isinstance(x, int) for x in numbers):
        values = [round(value, 12) for value in values]
    return [list(pair) for pair in itertools.pairwise(values)] if name == "workload.window" else values
