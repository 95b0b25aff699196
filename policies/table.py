"""The table of the policies that have a short name, and those that installed distributions add to it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import NamedTuple

GROUP = "flowsim.policies"
"""The entry points of other distributions: `name = "module:Class"`."""


class Row(NamedTuple):
    """One policy.

    Attributes:
        place: "module:Class". The class's docstring explains the policy; its first sentence is its line in lists.
        family: what kind of scheduler it is.
        source: where its rules come from.
    """

    place: str
    family: str
    source: str


TABLE: Mapping[str, Row] = {
    "fcfs": Row("flowsim.policies.fcfs:FCFS", "arrival", "DistServe, ContextStageFCFSScheduler"),
    "chunked": Row("flowsim.policies.chunked:Chunked", "arrival", "Sarathi-Serve (OSDI 2024); vLLM v1"),
    "priority": Row("flowsim.policies.priority:Priority", "priority", "vLLM v1, policy=priority"),
    "sjf": Row("flowsim.policies.sjf:SJF", "size", "LMCache, shortest prefill first"),
    "srpt": Row("flowsim.policies.srpt:SRPT", "size", "Schrage 1968"),
    "edf": Row("flowsim.policies.edf:EDF", "deadline", "Liu and Layland 1973"),
    "llf": Row("flowsim.policies.laxity:LLF", "deadline", "Mok 1983"),
    "feasible-srpt": Row("flowsim.policies.srpt:FeasibleSRPT", "deadline", "flowsim, an ablation"),
    "flowprefill": Row("flowsim.policies.flowprefill:FlowPrefill", "deadline", "arXiv 2602.16603"),
    "moore-hodgson": Row("flowsim.policies.moore_hodgson:MooreHodgson", "deadline", "Moore 1968, at each decision"),
    "scorpio": Row("flowsim.policies.rejecting:Scorpio", "admission", "after SCORPIO, arXiv 2505.23022"),
    "early-reject": Row("flowsim.policies.rejecting:EarlyReject", "admission", "after Mooncake, arXiv 2407.00079"),
    "vtc": Row("flowsim.policies.vtc:VTC", "fairness", "after Sheng et al., arXiv 2401.00588"),
}
"""The policies that flowsim ships, by family."""


@cache
def installed() -> Mapping[str, Row]:
    """The policies of other installed distributions; nothing of theirs is imported. A shipped name is not replaced."""
    found = sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))
    return {
        point.name: Row(point.value, "installed", point.dist.name if point.dist else "")
        for point in found
        if point.name not in TABLE
    }
