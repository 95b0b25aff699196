"""`flowsim.run`: from a trace and a policy to a result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from flowsim.calibration.costs.catalogue import load_table
from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.fit import fit
from flowsim.calibration.costs.predictor import make_predictor
from flowsim.calibration.costs.row_sources import counted
from flowsim.calibration.costs.table import OperatorTable
from flowsim.core.policy import Policy, check_policy
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.core.slo import Assignment, SLOMix
from flowsim.engine.simulate import simulate
from flowsim.errors import InputError
from flowsim.policies.registry import load_policy, policy_spec
from flowsim.results.result import RunResult
from flowsim.traces.catalogue import load_trace
from flowsim.traces.combine import parse_mix, reweighted, with_rates
from flowsim.traces.prefix import cached_tokens
from flowsim.traces.prefix import new_tokens as only_new_tokens
from flowsim.traces.trace import Trace

MODEL, GPU = "llama3-8b", "h200"


def run(
    trace: Trace | str | Path,
    policy: Policy | str = "flowprefill",
    *,
    cost: CostModel | str | Path | None = None,
    model: str = MODEL,
    gpu: str = GPU,
    tp: int = 1,
    slo: SLOMix | str | float | None = None,
    slo_scale: float = 1.0,
    rate_scale: float = 1.0,
    limit: int | None = None,
    window: tuple[float, float] | None = None,
    format: str | None = None,
    mix: str | None = None,
    prefix_cache: str = "none",
    new_tokens: bool = False,
    predictor: str = "cubic",
    server: ServerOptions | None = None,
    seed: int = 0,
    until_s: float | None = None,
    warmup: float = 0.0,
    events: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> RunResult:
    """Replay a trace under a policy.

    Args:
        trace: a `Trace`, the path of a file, or "example".
        policy: a policy, or its specification: "fcfs", "chunked:2048", "flowprefill:cut=layer", "module:Class".
        cost: a cost model, or the folder of an operator table; default: the shipped table of `model`, `gpu`, `tp`.
        slo: an SLO mix, or what `SLOMix.parse` takes; default: the paper's for the model that the costs are of.
        slo_scale: every TTFT SLO is multiplied by it.
        rate_scale: the request rate is multiplied by it (gaps are compressed).
        limit: only the first so many requests.
        window: only the requests that arrive in [start, end), seconds of the trace before `rate_scale`.
        format: format of the trace file; default: found by its content.
        mix: shares of the classes, such as "text=.5,search=.5", to which the requests are `reweighted` with `seed`.
        prefix_cache: "none", "ideal" or "lru:BLOCKS": what of the requests' prefix blocks is cached when they arrive
            (`cached_tokens`; of a window, what an empty cache has got since its beginning). Cached tokens are not
            computed; attention still covers them.
        new_tokens: later turns of text keep only their new tokens, as the paper's authors replayed QwenTrace.
        predictor: what the policy believes of the cost: "exact", "cubic", "biased:FACTOR" or "noisy:SIGMA".
        server: instances, router, slots, KV cache.
        seed: of all randomness (spreading of coarse time stamps, noise of the predictor).
        until_s: stop then, seconds from the first arrival; what arrives later is not replayed.
        warmup: share of the requests, the first ones, that are served but do not count in attainment, goodput and TTFT.
        events: keep what happened on each instance in `outcome.events`.
        progress: called now and then with (requests arrived, requests in all).

    Raises:
        InputError: anything that was given is wrong; one line says what.
    """
    scheduler = load_policy(policy) if isinstance(policy, str) else check_policy(policy)
    costs = cost if isinstance(cost, CostModel) else load_cost(cost, model, gpu, tp)
    slos = _mix(slo, costs.provenance.table.rank().model if costs.provenance else model)
    loaded = trace if isinstance(trace, Trace) else load_trace(trace, format, seed=seed)
    check_times(until_s, warmup)
    loaded = only_new_tokens(loaded) if new_tokens else loaded
    shares = None if mix is None else parse_mix(mix)
    replayed = replayed_part(loaded, rate_scale, limit, window, until_s, shares, slos, seed)
    cached = cached_tokens(replayed, prefix_cache)
    assignment = slos.scaled(slo_scale).assign(replayed, seed)
    server = server or ServerOptions()
    costs.check_graph_tokens(server.graph_tokens)
    beliefs = make_predictor(predictor, costs, scheduler.cut, server.max_batched_tokens, seed, server.graph_tokens)
    if seed < 0:
        raise InputError(f"seed is {seed}, allowed is a whole number from 0")
    outcome = simulate(
        make_requests(replayed, assignment, server, cached),
        scheduler,
        costs,
        beliefs,
        server,
        until_s=until_s,
        events=events,
        progress=progress and (lambda arrived: progress(arrived, len(replayed))),
    )
    spec = policy if isinstance(policy, str) else str(policy_spec(scheduler))
    options = {
        "slo_scale": slo_scale,
        "rate_scale": rate_scale,
        "limit": limit,
        "window": [window[0], window[1] if math.isfinite(window[1]) else None] if window else None,
        "mix": mix,
        "prefix_cache": prefix_cache,
        "new_tokens": new_tokens,
        "predictor": predictor,
        "server": msgspec.structs.asdict(server),
        "seed": seed,
        "until_s": until_s,
        "warmup": warmup,
    }
    place = {"cost": None, "model": model, "gpu": gpu, "tp": tp} | _place(costs)
    config = {
        "trace": _anywhere(loaded.source),
        "format": format,
        "policy": spec,
        **place,
        "slo": slos.to_dict(),
        **options,
    }
    record = costs.provenance
    inputs = {
        "trace": Path(loaded.source).name,
        "trace_sha256": loaded.sha256,
        "trace_notices": list(replayed.notices),
        "cost_model": costs.name,
        "cost_model_sha256": None if record is None else record.sha256,
        "cost_model_sources": _sources(costs, server.graph_tokens),
        "cost_model_error": None if record is None else msgspec.to_builtins(record.error),
        "cost_model_leave_one_out": None if record is None else msgspec.to_builtins(record.leave_one_out),
        "extrapolated": extrapolated(costs, replayed, server, cached),
        "slo": assignment.rule,
        **options,
        "cached_share": float(cached.sum() / replayed.input_length.sum()),
        "version": own_version(),
    }
    return RunResult(replayed, assignment, outcome, spec, config, inputs, cached, warmup)


@lru_cache(maxsize=1)
def own_version() -> str:
    """The version of flowsim that is installed."""
    return version("flowsim")


def _place(costs: CostModel) -> dict[str, Any]:
    """Where the costs can be found again: a folder, or the model, GPU and degree of a shipped table."""
    record = costs.provenance
    if record is None or not record.is_stored:
        return {"cost": f"{costs.name} (given in Python, in no table)"}
    rank = record.table.rank()
    folder = None if record.folder is None else str(record.folder)
    return {"cost": folder, "model": rank.model, "gpu": rank.gpu, "tp": rank.tp}


def _sources(costs: CostModel, graph_tokens: int) -> list[str]:
    """Public measurements that the costs hold, if any (all else was measured by flowsim); and what else goes in."""
    about = None if costs.provenance is None else costs.provenance.table
    parts = {"operators": about, "all-reduces": None if about is None else about.all_reduce}
    said = [f"{part} from {of.source}" for part, of in parts.items() if of is not None and of.source is not None]
    if about is not None and about.cells is not None:
        measured, rows = counted(about.cells)
        said.append(f"of its {rows:,} rows of the device {measured:,} were measured there, the rest filled in")
    if graph_tokens:
        said.append(f"forwards of one prompt of up to {graph_tokens:,} tokens run as recorded CUDA graphs")
    if costs.boost is not None:
        said.append(f"a GPU that has rested is faster at first, by {costs.boost.gain(8192):.0%} with 8192 tokens")
    return said


def _anywhere(source: str) -> str:
    """The name of a trace as it can be found from any folder."""
    return str(Path(source).resolve()) if Path(source).exists() else source


def replayed_part(
    trace: Trace,
    rate_scale: float,
    limit: int | None = None,
    window: tuple[float, float] | None = None,
    until_s: float | None = None,
    mix: Mapping[str, float] | None = None,
    slos: SLOMix | None = None,
    seed: int = 0,
) -> Trace:
    """What is replayed of a trace: the window, the limit of it, its mix, the SLO mix's rates, the scale, the end.

    InputError: a mix as well as rates, which are a mix too.
    """
    if mix and slos is not None and slos.rates:
        raise InputError("a mix and an SLO mix with rates were both given, allowed is one of them: rates are a mix too")
    if window is not None:
        trace = trace.window(*window)
    if limit is not None:
        trace = trace.head(limit)
    if mix:
        trace = reweighted(trace, mix, seed)
    if slos is not None and slos.rates:
        trace = with_rates(trace, slos.rates, seed, reweigh=slos.way(trace) == "class")
    trace = trace if rate_scale == 1 else trace.scaled(rate_scale)
    return trace if until_s is None or trace.span_s < until_s else trace.window(0.0, until_s)


def check_times(until_s: float | None, warmup: float) -> None:
    """Raise InputError unless the run ends after its beginning, and some requests are left to count."""
    if until_s is not None and not 0 < until_s < math.inf:
        raise InputError(f"until_s is {until_s}, allowed is a number of seconds above 0")
    if not 0 <= warmup < 1:
        raise InputError(f"warmup is {warmup}, allowed is a share of the requests, from 0 to below 1")


def parse_window(what: str, text: str | None) -> tuple[float, float] | None:
    """The window that "FROM:TO" names, seconds; a bound left out is the trace's own. `what` is for the error."""
    if text is None:
        return None
    start, colon, end = text.partition(":")
    try:
        window = float(start or 0), float(end or "inf")
    except ValueError:
        window = (0.0, 0.0)
    if not colon or not 0 <= window[0] < window[1]:
        raise InputError(f"{what} {text!r}: allowed is FROM:TO in seconds, with FROM before TO")
    return window


def make_requests(
    trace: Trace, slo: Assignment, server: ServerOptions, cached: NDArray[np.int64] | None = None
) -> list[Request]:
    """The engine's requests: those of the trace, with their SLOs (infinite where there is none) and cached tokens."""
    slo_s = np.where(np.isnan(slo.ttft_slo_s), math.inf, slo.ttft_slo_s)
    names = [slo.class_names[code] for code in slo.class_code.tolist()]
    held = [0] * len(trace) if cached is None else cached.tolist()
    columns = (trace.arrival_s.tolist(), trace.input_length.tolist(), slo_s.tolist(), names, held)
    return [
        Request(id, arrival_s, tokens, slo_s, name, block_tokens=server.block_tokens, cached=held)
        for id, (arrival_s, tokens, slo_s, name, held) in enumerate(zip(*columns, strict=True))
    ]


def load_cost(folder: str | Path | None, model: str = MODEL, gpu: str = GPU, tp: int = 1) -> CostModel:
    """The cost model fitted to the operator table in `folder`, or to the shipped one of this model and GPU."""
    table = OperatorTable.load(folder) if folder is not None else load_table(gpu, model, tp)
    try:
        cost = fit(table)
    except InputError as error:
        raise InputError(f"{folder or f'{gpu}/{model}/tp{tp}'}: {error}") from error
    assert cost.provenance is not None
    place = None if folder is None else Path(_anywhere(str(folder)))
    cost.provenance = replace(cost.provenance, folder=place, is_stored=True)
    return cost


def extrapolated(cost: CostModel, trace: Trace, server: ServerOptions, cached: NDArray[np.int64]) -> int | None:
    """How many prompts, of which so many tokens are cached, reach beyond the sizes to which the cost model was fitted.

    None if those are not known.
    """
    if cost.provenance is None:
        return None
    return int(cost.provenance.measured.beyond(trace.input_length, cached, server.max_batched_tokens).sum())


def _mix(slo: SLOMix | str | float | None, model: str) -> SLOMix:
    if isinstance(slo, SLOMix):
        return slo
    if slo is None:
        return SLOMix.preset(model)
    return SLOMix.parse(str(slo))
