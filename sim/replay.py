"""`flowsim.run` and `flowsim.compare`: from a trace and a policy to a result."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numpy.typing import NDArray

from flowsim.calibration.cost import CostModel
from flowsim.calibration.fit import fit
from flowsim.calibration.predictor import make_predictor
from flowsim.calibration.table import OperatorTable, load_table
from flowsim.engine import Server, simulate
from flowsim.errors import InputError, unknown
from flowsim.files import writing
from flowsim.policy import Policy, check_policy, load_policy, policy_spec
from flowsim.request import Request
from flowsim.result import RunResult
from flowsim.slo import Assignment, SLOMix
from flowsim.traces.catalogue import load_trace
from flowsim.traces.combine import parse_mix, reweighted, with_rates
from flowsim.traces.prefix import cached_tokens
from flowsim.traces.prefix import new_tokens as only_new_tokens
from flowsim.traces.trace import Trace

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

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
    server: Server | None = None,
    seed: int = 0,
    until_s: float | None = None,
    stretches: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> RunResult:
    """Replay a trace under a policy.

    Args:
        trace: a `Trace`, the path of a file, or "example".
        policy: a policy, or its specification: "fcfs", "chunked:2048", "flowprefill:cut=layer", "module:Class".
        cost: a cost model, or the folder of an operator table; default: the shipped table of `model`, `gpu`, `tp`.
        slo: an SLO mix, or what `SLOMix.parse` takes; default: the paper's for `model`.
        slo_scale: every TTFT SLO is multiplied by it.
        rate_scale: the request rate is multiplied by it (gaps are compressed).
        limit: only the first so many requests.
        window: only the requests that arrive in [start, end), seconds of the trace before `rate_scale`.
        format: format of the trace file; default: found by its content.
        mix: shares of the classes, such as "text=.5,search=.5", to which the requests are `reweighted` with `seed`.
        prefix_cache: "none", "ideal" or "lru:BLOCKS": what of the requests' prefix blocks is cached when they arrive
            (`cached_tokens`). Cached tokens are not computed; attention still covers them.
        new_tokens: later turns of text keep only their new tokens, as the paper's authors replayed QwenTrace.
        predictor: what the policy believes of the cost: "exact", "cubic", "biased:FACTOR" or "noisy:SIGMA".
        server: instances, router, slots, KV cache.
        seed: of all randomness (spreading of coarse time stamps, noise of the predictor).
        until_s: stop then, seconds from the first arrival.
        stretches: log every uninterrupted stretch of execution in `outcome.logs`.
        progress: called now and then with (requests arrived, requests in all).

    Raises:
        InputError: anything that was given is wrong; one line says what.
    """
    scheduler = load_policy(policy) if isinstance(policy, str) else check_policy(policy)
    costs = cost if isinstance(cost, CostModel) else load_cost(cost, model, gpu, tp)
    slos = _mix(slo, model)
    loaded = trace if isinstance(trace, Trace) else load_trace(trace, format, seed=seed)
    loaded = only_new_tokens(loaded) if new_tokens else loaded
    replayed = replayed_part(loaded, rate_scale, limit, window, mix, slos, seed)
    cached = cached_tokens(replayed, prefix_cache)
    assignment = slos.scaled(slo_scale).assign(replayed, seed)
    server = server or Server()
    beliefs = make_predictor(predictor, costs, scheduler.cut, server.max_batched_tokens, seed)
    if until_s is not None and not 0 < until_s < math.inf:
        raise InputError(f"until_s is {until_s}, allowed is a number of seconds above 0")
    outcome = simulate(
        make_requests(replayed, assignment, server, cached),
        scheduler,
        costs,
        beliefs,
        server,
        until_s=until_s,
        stretches=stretches,
        progress=progress and (lambda arrived: progress(arrived, len(replayed))),
    )
    spec = policy if isinstance(policy, str) else policy_spec(scheduler)
    config = {
        "trace": loaded.source,
        "policy": spec,
        "cost": None if cost is None else costs.name if isinstance(cost, CostModel) else str(cost),
        "model": model,
        "gpu": gpu,
        "tp": tp,
        "slo": slos.to_dict(),
        "slo_scale": slo_scale,
        "rate_scale": rate_scale,
        "limit": limit,
        "window": list(window) if window else None,
        "format": format,
        "mix": mix,
        "prefix_cache": prefix_cache,
        "new_tokens": new_tokens,
        "predictor": predictor,
        "server": asdict(server),
        "seed": seed,
        "until_s": until_s,
    }
    inputs = {
        "trace": loaded.source,
        "trace_sha256": loaded.sha256,
        "trace_notices": list(replayed.notices),
        "cost_model": costs.name,
        "cost_model_sha256": costs.provenance.get("sha256"),
        "cost_model_error": costs.provenance.get("error"),
        "slo": assignment.rule,
        "prefix_cache": prefix_cache,
        "cached_share": float(cached.sum() / replayed.input_length.sum()),
        "predictor": predictor,
        "seed": seed,
        "version": version("flowsim"),
    }
    return RunResult(replayed, assignment, outcome, spec, config, inputs, cached)


def replayed_part(
    trace: Trace,
    rate_scale: float,
    limit: int | None,
    window: tuple[float, float] | None,
    mix: str | None = None,
    slos: SLOMix | None = None,
    seed: int = 0,
) -> Trace:
    """The part of a trace that is replayed: the window, the limit of it, its mix, the SLO mix's rates, the scale."""
    if window is not None:
        trace = trace.window(*window)
    if limit is not None:
        trace = trace.head(limit)
    if mix is not None:
        trace = reweighted(trace, parse_mix(mix), seed)
    if slos is not None and slos.rates:
        trace = with_rates(trace, slos.rates, seed, reweigh=slos.way(trace) == "class")
    return trace if rate_scale == 1 else trace.scaled(rate_scale)


def make_requests(
    trace: Trace, slo: Assignment, server: Server, cached: NDArray[np.int64] | None = None
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
    return fit(table)


def read_config(path: str | Path) -> dict[str, Any]:
    """The arguments of `run` in a config.yaml that a result left.

    Raises:
        InputError: no such file, not YAML, or a key that `run` does not have.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict) or "trace" not in values:
        raise InputError(f"{path}: allowed is a mapping with at least the key trace, as --out writes it")
    known = [name for name in inspect.signature(run).parameters if name not in ("progress", "stretches")]
    for key in values:
        if key not in known:
            raise InputError(f"{path}: {unknown('key', str(key), known)}")
    if isinstance(values.get("slo"), dict):
        values["slo"] = SLOMix.from_dict(values["slo"])
    server = values.get("server") or {}
    for key in server:
        if key not in (names := [field.name for field in fields(Server)]):
            raise InputError(f"{path}: {unknown('server key', str(key), names)}")
    return {**values, "server": Server(**server), "window": tuple(values["window"]) if values.get("window") else None}


def _mix(slo: SLOMix | str | float | None, model: str) -> SLOMix:
    if isinstance(slo, SLOMix):
        return slo
    if slo is None:
        return SLOMix.preset(model)
    return SLOMix.parse(str(slo))


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several policies on the same requests. Made by `flowsim.compare`.

    Attributes:
        results: the result of each policy, by the name it is shown under.
    """

    results: Mapping[str, RunResult]

    @property
    def table(self) -> pd.DataFrame:
        """A row a policy: attainment (overall, and by class), goodput, TTFT, blocking time, preemptions."""
        import pandas as pd

        return pd.DataFrame([_row(result.summary) for result in self.results.values()], index=list(self.results))

    def plot(self) -> Figure:
        """Attainment by class, and the distribution of TTFT."""
        from flowsim.plots import comparison

        return comparison(self.results)

    def save(self, folder: str | Path) -> Path:
        """Write comparison.csv, comparison.png and, a folder a policy, the files of each result: all, or none."""
        with writing(folder) as stage:
            self.table.to_csv(stage / "comparison.csv", index_label="policy")
            self.plot().savefig(stage / "comparison.png", metadata={"Software": None})
            for name, result in self.results.items():
                place = stage / re.sub(r"[^\w.=,-]+", "-", name)
                place.mkdir()
                result.write(place)
        return Path(folder)

    def _repr_html_(self) -> str:
        return str(self.table.to_html(float_format=lambda value: f"{value:.4g}"))


def compare(trace: Trace | str | Path, policies: Sequence[Policy | str], **options: Any) -> Comparison:
    """Replay the same requests under several policies; `options` are those of `run`.

    Raises:
        InputError: as `run` does; also for no policy, and for one that is named twice.
    """
    names = [policy if isinstance(policy, str) else policy_spec(policy) for policy in policies]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"policy {name!r} is named twice")
    if not names:
        raise InputError("no policy to compare, allowed is one or more")
    if not isinstance(trace, Trace):
        trace = load_trace(trace, options.pop("format", None), seed=options.get("seed", 0))
    if not isinstance(options.get("cost"), CostModel):
        place = {key: options[key] for key in ("model", "gpu", "tp") if key in options}
        options["cost"] = load_cost(options.get("cost"), **place)
    for policy in policies:  # all of them, before the first run
        _ = load_policy(policy) if isinstance(policy, str) else check_policy(policy)
    return Comparison({name: run(trace, policy, **options) for name, policy in zip(names, policies, strict=True)})


def _row(summary: Mapping[str, Any]) -> dict[str, Any]:
    row = {
        "attainment": summary["attainment"],
        "goodput_rps": summary["goodput_rps"],
        "ttft_p50_s": summary["ttft_s"]["p50"],
        "ttft_p90_s": summary["ttft_s"]["p90"],
        "ttft_p99_s": summary["ttft_s"]["p99"],
        "blocking_mean_s": summary["blocking_s"]["mean"],
        "blocking_p99_s": summary["blocking_s"]["p99"],
        "preemptions": summary["preemptions"],
        "utilization": summary["utilization"],
        "unfinished": summary["unfinished"],
        "rejected": summary["rejected"],
    }
    return row | {f"attainment_{name}": figures["attainment"] for name, figures in summary["classes"].items()}
