"""Policies on the screen: all in a list, or one explained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table

from flowsim.policies.registry import PolicyDescription
from flowsim.rendering.screen import facts, table
from flowsim.runs.six_requests import FORWARD_TOKENS, LAYERS, TOKENS_PER_S, ServedRequest

CELLS_PER_S = 2


def policies_report(policies: Sequence[PolicyDescription]) -> RenderableType:
    """The policies by family, each with its line and its source."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("policy", "what it does", "source"):
        made.add_column(column, overflow="fold")
    for family, members in groupby(policies, key=lambda policy: policy.family):
        made.add_row(family, style="bold")
        for policy in members:
            made.add_row(f"  {policy.name}", policy.what, policy.source)
    return made


def policy_report(
    spec: str,
    policy: PolicyDescription,
    rule: str,
    meanings: Mapping[str, str],
    served: Sequence[ServedRequest],
) -> RenderableType:
    """One policy: its rule, its options, a command and what it does with a few requests.

    Args:
        spec: the specification that was asked about.
        policy: what it is.
        rule: the text that explains it.
        meanings: what each option means, where that is known.
        served: the six requests under it.
    """
    lines: list[RenderableType] = [rule, ""]
    if policy.source:
        lines += [facts([("source", policy.source)]), ""]
    options = table("option")
    for column in ("default", "meaning"):
        options.add_column(column, overflow="fold")
    for name, default in policy.options.items():
        options.add_row(name, str(default), meanings.get(name, ""))
    lines += [options, ""] if policy.options else []
    lines += [f"  flowsim run example --policy {example(spec, policy)}", ""]
    lines += [
        f"Six requests on costs by hand: {TOKENS_PER_S:,} tokens a second, forwards of up to {FORWARD_TOKENS:,},",
        f"{LAYERS} layers (. waits, # is computed):",
        timeline_table(served),
    ]
    return Group(*lines)


def example(spec: str, policy: PolicyDescription) -> str:
    """The specification itself if it gives options, else with the first option, if there is one, written out."""
    if spec != policy.name:
        return spec
    return next((f"{policy.name}:{name}={default}" for name, default in policy.options.items()), policy.name)


def timeline_table(served: Sequence[ServedRequest]) -> Table:
    """A row per request; in the bar a cell is half a second."""
    made = table("request")
    made.add_column("class")
    for column in ("tokens", "due", "first token"):
        made.add_column(column, justify="right")
    made.add_column("")
    made.add_column("from 0 s, two cells a second", no_wrap=True)
    for one in served:
        request, late = one.request, not one.finished_s <= one.request.deadline_s
        known = "rejected" if one.rejected else f"{one.finished_s:g} s"
        row = (str(request.id), request.class_name, str(request.tokens), f"{request.deadline_s:g} s", known)
        made.add_row(*row, "missed" if late else "in time", "".join(_cells(one)).rstrip())
    return made


def _cells(one: ServedRequest) -> Iterator[str]:
    end_s = max((ended_s for _, ended_s in one.ran), default=one.request.arrival_s)
    for cell in range(round(end_s * CELLS_PER_S)):
        middle_s = (cell + 0.5) / CELLS_PER_S
        if any(began_s <= middle_s < ended_s for began_s, ended_s in one.ran):
            yield "#"
        else:
            yield "." if middle_s > one.request.arrival_s else " "
