"""flowsim: which prefill scheduler serves more requests within their TTFT SLO?

A discrete-event simulator of LLM prefill serving, with costs measured operator by operator on a real GPU.

    import flowsim
    result = flowsim.run("trace.jsonl", policy="flowprefill")

Names are imported when they are first used: `import flowsim` itself costs nothing.
"""

from __future__ import annotations

import sys

if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    del sys.path[0]  # `python -m flowsim`: the folder in which it is typed holds data, and no module

import importlib

TYPE_CHECKING = False  # typing takes long to import, and until __main__ says otherwise a Ctrl-C would show where

if TYPE_CHECKING:
    from typing import Any

    from flowsim.archive.bundle import bundle
    from flowsim.archive.reproduce import reproduce
    from flowsim.arena.compete import Arena, compete
    from flowsim.calibration.costs.cost_model import CostModel
    from flowsim.calibration.measure.calibrate import calibrate
    from flowsim.clairvoyant.bound import Bound
    from flowsim.core.order import Fixed, Flipping, Moving, Scanned
    from flowsim.core.passes import Decision, Execution, Pass
    from flowsim.core.policy import Policy, View
    from flowsim.core.request import Request
    from flowsim.core.server import ServerOptions
    from flowsim.core.slo_mix import SLOMix
    from flowsim.errors import InputError
    from flowsim.policies.registry import PolicySpec, describe_policies
    from flowsim.report.pages import save_page
    from flowsim.report.plot import plot
    from flowsim.report.timeline import save_timeline
    from flowsim.results.definitions.files import describe_metrics
    from flowsim.results.explain import Explanation, explain
    from flowsim.results.result import RunResult
    from flowsim.runs.bound import bound, offered_load
    from flowsim.runs.compare import Comparison, compare
    from flowsim.runs.costs import describe_models, load_cost
    from flowsim.runs.doctor import doctor
    from flowsim.runs.options import RunOptions
    from flowsim.runs.options_file import read_options
    from flowsim.runs.run import run
    from flowsim.runs.tradeoff import tradeoff
    from flowsim.studies.capacity import capacity
    from flowsim.studies.study import Study
    from flowsim.studies.sweep import Runs, load_runs, sweep
    from flowsim.traces.catalogue import example_trace, load_trace
    from flowsim.traces.trace import Trace
    from flowsim.validation.plan import Plan
    from flowsim.validation.server_comparison import ServerComparison, compare_server
    from flowsim.validation.stack_fit import StackFit, fit_stack
    from flowsim.validation.validate import validate

    __version__: str

PACKAGES = (
    "archive",
    "arena",
    "calibration",
    "clairvoyant",
    "cli",
    "core",
    "engine",
    "io",
    "policies",
    "rendering",
    "report",
    "results",
    "runs",
    "studies",
    "traces",
    "validation",
)
HOMES = {
    "Arena": "arena.compete",
    "Bound": "clairvoyant.bound",
    "Comparison": "runs.compare",
    "CostModel": "calibration.costs.cost_model",
    "Decision": "core.passes",
    "Execution": "core.passes",
    "Explanation": "results.explain",
    "Fixed": "core.order",
    "Flipping": "core.order",
    "InputError": "errors",
    "Moving": "core.order",
    "Pass": "core.passes",
    "Plan": "validation.plan",
    "Policy": "core.policy",
    "PolicySpec": "policies.registry",
    "Request": "core.request",
    "RunOptions": "runs.options",
    "RunResult": "results.result",
    "Runs": "studies.sweep",
    "SLOMix": "core.slo_mix",
    "Scanned": "core.order",
    "ServerComparison": "validation.server_comparison",
    "ServerOptions": "core.server",
    "StackFit": "validation.stack_fit",
    "Study": "studies.study",
    "Trace": "traces.trace",
    "View": "core.policy",
    "bound": "runs.bound",
    "bundle": "archive.bundle",
    "calibrate": "calibration.measure.calibrate",
    "capacity": "studies.capacity",
    "compare": "runs.compare",
    "compare_server": "validation.server_comparison",
    "compete": "arena.compete",
    "describe_metrics": "results.definitions.files",
    "describe_models": "runs.costs",
    "describe_policies": "policies.registry",
    "doctor": "runs.doctor",
    "example_trace": "traces.catalogue",
    "explain": "results.explain",
    "fit_stack": "validation.stack_fit",
    "load_cost": "runs.costs",
    "load_runs": "studies.sweep",
    "load_trace": "traces.catalogue",
    "offered_load": "runs.bound",
    "plot": "report.plot",
    "read_options": "runs.options_file",
    "reproduce": "archive.reproduce",
    "run": "runs.run",
    "save_page": "report.pages",
    "save_timeline": "report.timeline",
    "sweep": "studies.sweep",
    "tradeoff": "runs.tradeoff",
    "validate": "validation.validate",
}
"""Where each public name lives."""

__all__ = [
    "Arena",
    "Bound",
    "Comparison",
    "CostModel",
    "Decision",
    "Execution",
    "Explanation",
    "Fixed",
    "Flipping",
    "InputError",
    "Moving",
    "Pass",
    "Plan",
    "Policy",
    "PolicySpec",
    "Request",
    "RunOptions",
    "RunResult",
    "Runs",
    "SLOMix",
    "Scanned",
    "ServerComparison",
    "ServerOptions",
    "StackFit",
    "Study",
    "Trace",
    "View",
    "__version__",
    "bound",
    "bundle",
    "calibrate",
    "capacity",
    "compare",
    "compare_server",
    "compete",
    "describe_metrics",
    "describe_models",
    "describe_policies",
    "doctor",
    "example_trace",
    "explain",
    "fit_stack",
    "load_cost",
    "load_runs",
    "load_trace",
    "offered_load",
    "plot",
    "read_options",
    "reproduce",
    "run",
    "save_page",
    "save_timeline",
    "sweep",
    "tradeoff",
    "validate",
]


def __getattr__(name: str) -> Any:
    """A public name or a package of flowsim, imported when it is first used."""
    if name == "__version__":
        from importlib.metadata import version  # takes a tenth of the time that numpy does, and few ask

        value: Any = version("flowsim")
    elif name in HOMES:
        value = getattr(importlib.import_module(f"flowsim.{HOMES[name]}"), name)
    elif name in PACKAGES:
        value = importlib.import_module(f"flowsim.{name}")
    else:
        import difflib  # only a wrong name needs it

        near = difflib.get_close_matches(name, __dir__(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise AttributeError(f"module 'flowsim' has no attribute {name!r}{hint}", name=name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *PACKAGES])
