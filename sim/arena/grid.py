"""The grid of the arena: traffic, loads and SLO mixes, and the study that runs every policy on each of them."""

from __future__ import annotations

import math
import shlex
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowsim.errors import InputError, InputWarning
from flowsim.policies.catalogue import TABLE
from flowsim.policies.registry import canonical, load_policy
from flowsim.runs.bound import clairvoyant_of
from flowsim.runs.costs import anywhere
from flowsim.runs.keywords import policy_text
from flowsim.runs.options import options
from flowsim.studies.point import Point, prepared
from flowsim.studies.study import Study

LOADS = (0.7, 0.9, 1.1, 1.4)
"""Offered loads, see `flowsim.offered_load`."""
MIXES: Mapping[str, Mapping[str, Any]] = {"paper": {}, "tight": {"slo.scale": 0.42}, "one": {"slo.mix": 1.0}}
"""What each SLO mix sets: the paper's, for an A800; as tight for an H200, which is 2.4 times as fast; 1 s for all."""
REFERENCE = "flowprefill"
"""The policy that all others are compared with, besides the best."""
KEPT = ("counted", "attained")
"""The columns of the requests that are kept of each run."""
DIGITS = 6
"""Significant digits of a rate scale, few enough to be the same on every machine."""


@dataclass(frozen=True)
class Traffic:
    """A stream of requests.

    Attributes:
        name: what it is called.
        trace: as a run names it.
        about: what it is, one line.
        limit: how many of its requests are replayed; None for all.
    """

    name: str
    trace: str
    about: str
    limit: int | None = None


@dataclass(frozen=True)
class Cell:
    """One traffic at one load under one SLO mix.

    Attributes:
        options: what tells its runs from those of other cells, by path.
    """

    traffic: str
    load: float
    mix: str
    options: Mapping[str, Any]


def own_traffic(requests: int) -> list[Traffic]:
    """The traffic that needs no file, with this number of requests each."""

    def drawn(name: str, preset: str, about: str, process: str = "") -> Traffic:
        return Traffic(name, f"synthetic:{preset}:{requests}{process}", about)

    return [
        drawn("qwen", "qwen-a", "drawn from QwenTrace A: chat with images, search and files"),
        drawn("conversation", "azure-conversation", "drawn from Azure's conversations of 2023"),
        drawn("code", "azure-code", "drawn from Azure's code completions of 2023, which come in bursts"),
        drawn("mooncake", "mooncake-conversation", "drawn from Mooncake's conversations: prompts of 12,000 tokens"),
        drawn("bursts", "qwen-a", "the lengths of qwen, gaps of a Gamma law (as BurstGPT's) that vary 4 x", ":gamma:4"),
    ]


def traffic_of(files: Mapping[str, str | Path], requests: int) -> list[Traffic]:
    """The traffic that needs no file, and that of files by name; one of the same name takes the place of ours."""
    ours = {each.name: each for each in own_traffic(requests)}
    theirs = {name: Traffic(name, anywhere(str(path)), Path(path).name, requests) for name, path in files.items()}
    return list((ours | theirs).values())


def entrants(own: Sequence[Any], *, only: bool = False) -> list[str]:
    """The policies as specifications, each once: those of the table and one's own or, if `only`, one's own.

    The reference is always among them.

    Raises:
        InputError: a policy that cannot be loaded, or a single one.

    Warns:
        InputWarning: two specifications mean the same policy.
    """
    given = [str(policy_text(policy)) for policy in own]
    names: dict[str, str] = {}
    if only and not given:
        raise InputError("policies", "none is given", expected=f"one or more that compete with {REFERENCE}")
    for name in (*([] if only else TABLE), *given, REFERENCE):
        same = names.setdefault(canonical(name), name)
        if same != name:
            warnings.warn(f"policy {name} is {same}, which competes once", InputWarning, stacklevel=2)
    for name in names.values():
        load_policy(name)
    if len(names) < 2:
        raise InputError("policies", found=list(names.values()), expected=f"another one than {REFERENCE}")
    return list(names.values())


def cells(
    traffic: Iterable[Traffic], loads: Sequence[float], mixes: Mapping[str, Mapping[str, Any]], base: Mapping[str, Any]
) -> list[Cell]:
    """Every traffic at every load under every SLO mix; the rates follow from the loads.

    Raises:
        InputError: a traffic whose requests arrive at one instant, or none of whose requests can be served.
    """
    found = []
    for each in traffic:
        of_trace = {"trace": each.trace} | ({} if each.limit is None else {"workload.limit": each.limit})
        ready = prepared(Point.of({**base, **of_trace}), str(Path.cwd()))
        at_own_rate = clairvoyant_of(ready).offered_load
        if not 0 < at_own_rate < math.inf:
            raise InputError(f"traffic {each.name}", "has no load: all requests arrive at one instant, or none fits")
        for load in loads:
            scale = {"workload.rate_scale": float(f"{load / at_own_rate:.{DIGITS}g}")}
            found += [Cell(each.name, load, mix, {**of_trace, **scale, **more}) for mix, more in mixes.items()]
    return found


def arguments(cell: Cell, base: Mapping[str, Any]) -> str:
    """What to type after `flowsim run`, `compare` or `explain` for the requests of a cell, with the options of all."""
    given = {**base, **cell.options}
    words = [str(given.pop("trace"))]
    for path, value in given.items():
        one = options().get(path)
        if one is None or not one.flag or value == one.default:
            continue
        if isinstance(value, bool):
            words.append(one.flag if value else f"--no-{one.flag.removeprefix('--')}")
        else:
            words += [one.flag, str(value)]
    return shlex.join(words)


def study_of(cells: Sequence[Cell], policies: Sequence[str], base: Mapping[str, Any]) -> Study:
    """The study whose points are the cells and whose axis is the policy."""
    values = {
        "title": "arena",
        "run": {**base, "bound": True},
        "points": [dict(cell.options) for cell in cells],
        "axes": {"policy": list(policies)},
        "requests": list(KEPT),
    }
    return Study.of(values, root=Path.cwd(), source="arena")


def keys_by_cell(study: Study, cells: Sequence[Cell], policies: Sequence[str]) -> list[list[str]]:
    """The key of the run of each cell under each policy."""
    return [
        [Point.of({**study.base, **cell.options, "policy": policy}).key(study.root) for policy in policies]
        for cell in cells
    ]
