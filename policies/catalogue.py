"""The table of the policies that have a short name, and those that installed distributions add to it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import NamedTuple

from flowsim.errors import InputError

GROUP = "flowsim.policies"
"""The entry points of other distributions: `name = "module:Class"`."""


class PolicyRow(NamedTuple):
    """One policy.

    Attributes:
        place: "module:Class". The class's docstring explains the policy; its first sentence is its line in lists.
        family: what kind of scheduler it is.
        source: where its rules come from.
    """

    place: str
    family: str
    source: str


TABLE: Mapping[str, PolicyRow] = {
    "fcfs": PolicyRow("flowsim.policies.fcfs:FCFS", "arrival", "DistServe, ContextStageFCFSScheduler"),
    "chunked": PolicyRow("flowsim.policies.chunked:Chunked", "arrival", "Sarathi-Serve (OSDI 2024); vLLM v1"),
    "priority": PolicyRow("flowsim.policies.priority:Priority", "priority", "vLLM v1, policy=priority"),
    "wspt": PolicyRow("flowsim.policies.priority:WSPT", "priority", "Dynamo, KV router, policy.rs"),
    "sjf": PolicyRow("flowsim.policies.sjf:SJF", "size", "LMCache, shortest prefill first"),
    "vllm-sjf": PolicyRow("flowsim.policies.sjf:VLLMSJF", "size", "vLLM, pull request 29366"),
    "srpt": PolicyRow("flowsim.policies.srpt:SRPT", "size", "Schrage and Miller 1966; Schrage 1968"),
    "prefillonly": PolicyRow("flowsim.policies.sjf:PrefillOnly", "size", "PrefillOnly, arXiv 2505.07203"),
    "lanes": PolicyRow("flowsim.policies.lanes:Lanes", "size", "vLLM Ascend, short request first"),
    "laps": PolicyRow("flowsim.policies.lanes:LAPS", "size", "after LAPS, arXiv 2601.11589"),
    "hrrn": PolicyRow("flowsim.policies.sglang:HRRN", "size", "SGLang, pull request 32911"),
    "preflow": PolicyRow("flowsim.policies.preflow:PreFlow", "size", "vLLM Ascend, pull request 16360"),
    "lpm": PolicyRow("flowsim.policies.sglang:LPM", "cache", "SGLang, schedule_policy.py"),
    "edf": PolicyRow("flowsim.policies.edf:EDF", "deadline", "Liu and Layland 1973"),
    "llf": PolicyRow("flowsim.policies.laxity:LLF", "deadline", "the textbook rule; usual reference: Mok 1983"),
    "lars": PolicyRow("flowsim.policies.laxity:LARS", "deadline", "Medha, arXiv 2409.17264"),
    "feasible-srpt": PolicyRow("flowsim.policies.srpt:FeasibleSRPT", "deadline", "flowsim, an ablation"),
    "flowprefill": PolicyRow("flowsim.policies.flowprefill:FlowPrefill", "deadline", "arXiv 2602.16603"),
    "suspend-bound": PolicyRow(
        "flowsim.policies.flowprefill:SuspendBound", "deadline", "after vLLM, pull request 44794"
    ),
    "hybrid": PolicyRow("flowsim.policies.hybrid:Hybrid", "deadline", "QoServe (Niyama), arXiv 2503.22562, its code"),
    "moore-hodgson": PolicyRow(
        "flowsim.policies.moore_hodgson:MooreHodgson", "deadline", "Moore 1968, at each decision"
    ),
    "headroom": PolicyRow("flowsim.policies.moore_hodgson:Headroom", "deadline", "flowsim, docs/headroom.md"),
    "scorpio": PolicyRow("flowsim.policies.rejecting:Scorpio", "admission", "after SCORPIO, arXiv 2505.23022"),
    "early-reject": PolicyRow(
        "flowsim.policies.rejecting:EarlyReject", "admission", "after Mooncake, arXiv 2407.00079"
    ),
    "d-over": PolicyRow("flowsim.policies.overload:DOver", "admission", "after Koren and Shasha 1992"),
    "slos-serve": PolicyRow("flowsim.policies.overload:SLOsServe", "admission", "after SLOs-Serve, arXiv 2504.08784"),
    "vtc": PolicyRow("flowsim.policies.vtc:VTC", "fairness", "after Sheng et al., arXiv 2401.00588"),
    "dlpm": PolicyRow("flowsim.policies.vtc:DLPM", "fairness", "after DLPM, arXiv 2501.14312"),
}
"""The policies that flowsim ships, by family."""


@cache
def installed() -> Mapping[str, PolicyRow]:
    """The policies of other installed distributions; nothing of theirs is imported. A shipped name is not replaced.

    A name that several classes have, or that holds a ":", is left out: see `check_policy_name`.
    """
    return {name: rows[0] for name, rows in _named().items() if len(rows) == 1 and ":" not in name}


def check_policy_name(text: str) -> None:
    """Refuse a specification that begins with a name which distributions gave to several classes, or with a ":" in it.

    Raises:
        InputError: it does; the message lists the classes and their distributions.
    """
    for name, rows in _named().items():
        if name not in installed() and (text == name or text.startswith(f"{name}:")):
            places = " and ".join(f"{row.place} of {row.source or 'no distribution'}" for row in rows)
            problem = f"names {places}" if len(rows) > 1 else f"is the name of {places} and holds a colon"
            raise InputError(f"policy {name!r}", problem, expected=f"MODULE:CLASS, as {rows[0].place}")


@cache
def _named() -> Mapping[str, list[PolicyRow]]:
    """The classes that entry points name, by name."""
    named: dict[str, list[PolicyRow]] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        row = PolicyRow(point.value, "installed", point.dist.name if point.dist else "")
        if point.name not in TABLE and row not in named.setdefault(point.name, []):
            named[point.name].append(row)
    return named
