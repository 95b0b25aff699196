"""flowsim: which prefill scheduler serves more requests within their TTFT SLO?

A discrete-event simulator of LLM prefill serving, with costs measured operator by operator on a real GPU.

    import flowsim
    result = flowsim.run("trace.jsonl", policy="flowprefill")
"""

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.core.order import Fixed, Flipping, Moving
from flowsim.core.passes import Execution, Pass
from flowsim.core.policy import Policy, View
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.core.slo import SLOMix
from flowsim.errors import InputError
from flowsim.results.result import RunResult
from flowsim.runs.compare import Comparison, compare
from flowsim.runs.costs import load_cost
from flowsim.runs.run import run
from flowsim.studies.capacity import capacity
from flowsim.studies.study import Study
from flowsim.studies.sweep import Runs, load_runs, sweep
from flowsim.traces.catalogue import example_trace, load_trace
from flowsim.traces.trace import Trace

__all__ = [
    "Comparison",
    "CostModel",
    "Execution",
    "Fixed",
    "Flipping",
    "InputError",
    "Moving",
    "Pass",
    "Policy",
    "Request",
    "RunResult",
    "Runs",
    "SLOMix",
    "ServerOptions",
    "Study",
    "Trace",
    "View",
    "capacity",
    "compare",
    "example_trace",
    "load_cost",
    "load_runs",
    "load_trace",
    "run",
    "sweep",
]
