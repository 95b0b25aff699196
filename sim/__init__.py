"""flowsim: which prefill scheduler serves more requests within their TTFT SLO?

A discrete-event simulator of LLM prefill serving, with costs measured operator by operator on a real GPU.

    import flowsim
    result = flowsim.run("trace.jsonl", policy="flowprefill")
"""

from flowsim.calibration.cost import CostModel
from flowsim.capacity import capacity
from flowsim.comparison import Comparison, compare
from flowsim.engine import Server
from flowsim.errors import InputError
from flowsim.execution import Execution, Pass
from flowsim.order import Fixed, Flipping, Moving
from flowsim.policy import Policy, View
from flowsim.replay import load_cost, run
from flowsim.request import Request
from flowsim.result import RunResult
from flowsim.slo import SLOMix
from flowsim.study import Study
from flowsim.sweep import Runs, load_runs, sweep
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
    "Server",
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
