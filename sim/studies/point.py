"""A point of a study: all that one run is told, as plain values; its hash, and the run itself."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.predictor import make_predictor
from flowsim.core.server import ServerOptions
from flowsim.core.slo import SLOMix
from flowsim.errors import InputError, unknown
from flowsim.policies.registry import NAMES, canonical, load_policy
from flowsim.results.result import RunResult
from flowsim.runs.digests import Stamp, cost_digest, file_digest, policy_digest, stamp_of
from flowsim.runs.run import check_times, load_cost, own_version, parse_window, replayed_part, run
from flowsim.traces.catalogue import load_trace
from flowsim.traces.prefix import cached_tokens
from flowsim.traces.prefix import new_tokens as only_new_tokens
from flowsim.traces.synthetic import synthesize
from flowsim.traces.trace import Trace

SERVER = ("instances", "router", "slots", "max_batched_tokens", "kv_tokens", "block_tokens", "graph_tokens")
DOTTED = ("policy", "mix")


@dataclass(frozen=True)
class Point:
    """The options of a run that an axis of a study can hold; those of `flowsim.run` mean what they mean there.

    Attributes:
        trace: a file, a built-in trace, or "synthetic:PRESET:N": N requests drawn anew for each seed.
        policy: as `load_policy` takes it.
        policy_options: written "policy.OPTION" in a study; they join the specification.
        mix: written "mix.CLASS" in a study; the shares of `reweighted`.
        rate_rps: the rate of the replayed part, requests a second, in place of `rate_scale`.
        window: "FROM:TO", seconds of the trace.
        slo: as `SLOMix.parse` takes it, or a file; when it has rates of its own, `rate_scale` multiplies them.
        instances, router, slots, max_batched_tokens, kv_tokens, block_tokens, graph_tokens: fields of
            `ServerOptions`.
    """

    trace: str
    policy: str = "flowprefill"
    policy_options: Mapping[str, Any] = field(default_factory=dict)
    mix: Mapping[str, float] = field(default_factory=dict)
    cost: str | None = None
    model: str = "llama3-8b"
    gpu: str = "h200"
    tp: int = 1
    slo: str | None = None
    slo_scale: float = 1.0
    rate_scale: float = 1.0
    rate_rps: float | None = None
    limit: int | None = None
    window: str | None = None
    format: str | None = None
    prefix_cache: str = "none"
    new_tokens: bool = False
    predictor: str = "cubic"
    instances: int = 1
    router: str = "round-robin"
    slots: int = 128
    max_batched_tokens: int = 8192
    kv_tokens: int | None = None
    block_tokens: int = 16
    graph_tokens: int = 0
    seed: int = 0
    until_s: float | None = None
    warmup: float = 0.0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Point:
        """The point of plain values by option. InputError for an unknown option or a value of the wrong kind."""
        plain: dict[str, Any] = {}
        for name, value in values.items():
            head, dot, tail = name.partition(".")
            if dot and head in DOTTED and tail:
                group = "policy_options" if head == "policy" else "mix"
                plain.setdefault(group, {})[tail] = _number(name, value) if head == "mix" else value
            else:
                plain[name] = _plain(name, value)
        if "trace" not in plain:
            raise InputError("no trace, allowed is a file, 'example' or 'synthetic:PRESET:N'")
        if plain.get("rate_rps") is not None and "rate_scale" in plain:
            raise InputError("rate_rps and rate_scale both given, allowed is one of them")
        if plain.get("seed", 0) < 0:
            raise InputError(f"seed is {plain['seed']}, allowed is a whole number from 0")
        return cls(**plain)

    @property
    def spec(self) -> str:
        """The policy's specification, with the options of axes."""
        options = ",".join(f"{name}={value}" for name, value in self.policy_options.items())
        if not options:
            return self.policy
        own = self.policy.partition(":")[0] not in NAMES
        return f"{self.policy}{',' if self.policy.count(':') > own else ':'}{options}"

    @property
    def columns(self) -> dict[str, Any]:
        """All options as the plain columns of a row; `policy` is the whole specification."""
        values = {name: getattr(self, name) for name in OPTIONS}
        dotted = [("policy", self.policy_options), ("mix", self.mix)]
        more = {f"{head}.{name}": value for head, group in dotted for name, value in group.items()}
        return values | {"policy": self.spec} | more

    @property
    def server(self) -> ServerOptions:
        """What serves the requests."""
        return ServerOptions(**{name: getattr(self, name) for name in SERVER})

    def key(self, root: str, kind: str = "") -> str:
        """SHA-256 of all inputs: these options, of the files that they name the content, and the `kind` of run."""
        options = {name: getattr(self, name) for name in OPTIONS} | {
            "mix": dict(self.mix),
            "policy": canonical(self.spec),
        }
        files = {name: path for name in ("trace", "slo") if (path := Path(root, options[name] or "")).is_file()}
        options |= {name: file_digest(str(path), stamp_of(path)) for name, path in files.items()}
        folder = self.cost and _place(root, self.cost)
        costs = cost_digest(folder, stamp_of(folder), self.model, self.gpu, self.tp)
        text = json.dumps([own_version(), kind, options, costs, policy_digest(self.policy)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


KINDS = {f.name: str(f.type) for f in fields(Point)}
OPTIONS = tuple(name for name in KINDS if name not in ("policy_options", "mix"))
"""The options of a point, without the dotted ones."""


def is_option(name: str) -> bool:
    """Whether a column of a row holds an option of the run."""
    return name in OPTIONS or name.startswith(tuple(f"{head}." for head in DOTTED))


def check(point: Point, root: str) -> None:
    """Do all that a run does before it simulates. InputError: what a run of this point would reject."""
    policy, costs, trace = load_policy(point.spec), fitted_cost(point, root), replayed(point, root)
    _slos(point, root).assign(trace, point.seed)
    cached_tokens(trace.head(1), point.prefix_cache)
    costs.check_graph_tokens(point.graph_tokens)
    make_predictor(point.predictor, costs, policy.cut, point.server.max_batched_tokens, point.seed, point.graph_tokens)
    check_times(point.until_s, point.warmup)


def run_point(point: Point, root: str) -> RunResult:
    """The run of a point; its files are looked up in the folder `root`. Raises what `flowsim.run` raises."""
    return run(
        replayed(point, root),
        point.spec,
        cost=fitted_cost(point, root),
        model=point.model,
        gpu=point.gpu,
        tp=point.tp,
        slo=_at_any_rate(_slos(point, root)),
        prefix_cache=point.prefix_cache,
        predictor=point.predictor,
        server=point.server,
        seed=point.seed,
        until_s=point.until_s,
        warmup=point.warmup,
    )


def replayed(point: Point, root: str) -> Trace:
    """The requests of a point: of its trace the window, then the limit, then the mix, then the rate."""
    place, slos = _place(root, point.trace), _slos(point, root)
    trace = _trace(place, stamp_of(place), point.format, point.seed, point.new_tokens)
    window = parse_window("window", point.window)
    part = replayed_part(trace, 1.0, point.limit, window, None, point.mix, slos, point.seed)
    factor = point.rate_scale if point.rate_rps is None else point.rate_rps / part.rate_rps
    if not 0 < factor < math.inf:
        given = f"rate_scale is {factor:g}" if point.rate_rps is None else f"rate_rps is {point.rate_rps:g}"
        raise InputError(f"{given}, allowed is a positive number (and a trace that spans some time)")
    return part if factor == 1 else part.scaled(factor)


@lru_cache(maxsize=4)
def _trace(spec: str, stamp: Stamp, format: str | None, seed: int, new_tokens: bool) -> Trace:
    trace = _synthetic(spec, seed) if spec.startswith("synthetic:") else load_trace(spec, format, seed=seed)
    return only_new_tokens(trace) if new_tokens else trace


def _synthetic(spec: str, seed: int) -> Trace:
    _, _, rest = spec.partition(":")
    preset, _, n = rest.partition(":")
    if not n.isdecimal():
        raise InputError(f"trace {spec!r}, allowed is synthetic:PRESET:N with N requests")
    return synthesize(int(n), 1.0, seed, preset)


def fitted_cost(point: Point, root: str) -> CostModel:
    """The cost model of a point."""
    folder = point.cost and _place(root, point.cost)
    return _fitted(folder, stamp_of(folder), point.model, point.gpu, point.tp)


@lru_cache(maxsize=8)
def _fitted(folder: str | None, stamp: Stamp, model: str, gpu: str, tp: int) -> CostModel:
    return load_cost(folder, model, gpu, tp)


def _slos(point: Point, root: str) -> SLOMix:
    if point.slo is not None:
        return SLOMix.parse(_place(root, point.slo)).scaled(point.slo_scale)
    record = fitted_cost(point, root).provenance
    return SLOMix.preset(record.table.rank().model if record else point.model).scaled(point.slo_scale)


def _at_any_rate(mix: SLOMix) -> SLOMix:
    """The mix without its rates, to which `replayed` has brought the requests already; as shares they may remain."""
    return replace(mix, shares=mix.shares or mix.rates, rates={}) if mix.rates else mix


def _place(root: str, name: str) -> str:
    """The file or folder of this name in `root`, or the name itself when there is none."""
    place = Path(root, name)
    return str(place) if place.exists() else name


def _plain(name: str, value: Any) -> Any:
    """A value of the kind that the option of this name has."""
    if name not in OPTIONS:
        raise unknown("option", name, [*OPTIONS, *(f"{head}.NAME" for head in DOTTED)])
    kind = KINDS[name]
    if value is None and "None" in kind:
        return None
    if kind == "bool":
        if isinstance(value, bool):
            return value
        raise InputError(f"{name} is {value!r}, allowed is true or false")
    if kind.startswith("float"):
        return _number(name, value)
    if kind.startswith("int"):
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise InputError(f"{name} is {value!r}, allowed is a whole number")
    if name == "window" and isinstance(value, list) and len(value) == 2:
        return window_of(*(_number(name, bound) for bound in value))
    if name == "slo" and isinstance(value, int | float) and not isinstance(value, bool):
        return _digits(_number(name, value))
    if isinstance(value, str) and value:
        return value
    raise InputError(f"{name} is {value!r}, allowed is a text")


def _number(name: str, value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise InputError(f"{name} is {value!r}, allowed is a number")


def window_of(start_s: float, end_s: float = math.inf) -> str:
    """The window from `start_s` to `end_s`, as the option `window` names it, with all digits."""
    return f"{_digits(start_s)}:{'' if end_s == math.inf else _digits(end_s)}"


def _digits(value: float) -> str:
    return repr(float(value)).removesuffix(".0")
