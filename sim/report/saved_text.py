"""A saved result as text, as the command that made it printed it; and as plain values, for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import msgspec
from rich.console import RenderableType

from flowsim.arena.arena_text import arena_report
from flowsim.policies.registry import spelling
from flowsim.rendering.differences_text import differences_report
from flowsim.rendering.run_text import compare_report, run_report
from flowsim.report.saved import Saved
from flowsim.results.differences import DECISIONS, SERVED, ServedTrace, alike, difference_rows, saved_decisions_sha256
from flowsim.studies.study_text import study_report
from flowsim.validation.report import validation_report


def saved_reports(saved: Saved, against: Sequence[str] = (), all_metrics: bool = False) -> Iterator[RenderableType]:
    """A saved result on the screen, in parts that are printed one after another.

    Args:
        saved: the folder.
        against: the policies that the others of a comparison or a study are compared with; default: as the command that
            made it has it.
        all_metrics: whether to show also what goodput is not, and the shares of time, of a run or a comparison.

    Raises:
        InputError: no such policy, or a file of the folder is missing or wrong.
    """
    if saved.kind == "study":
        yield arena_report(saved.arena) if saved.arena and not against else study_report(saved.study, against)
    elif saved.kind == "validation":
        yield validation_report([saved.evidence], saved.cases)
    elif saved.kind == "run":
        yield run_report(next(iter(saved.summaries.values())), all_metrics)
    else:
        bases = [spelling(name, saved.runs, within="comparison") for name in against] or [next(iter(saved.runs))]
        yield compare_report(saved.summaries, all_metrics)
        for base in bases if len(saved.runs) > 1 else []:
            yield ""
            yield saved_differences(saved, base)


def saved_differences(saved: Saved, base: str) -> RenderableType:
    """The differences of the policies of a comparison to one of them."""
    served = {
        name: ServedTrace.of_table(saved.requests(name, SERVED), summary["offered_rps"])
        for name, summary in saved.summaries.items()
    }
    decisions = {name: saved_decisions_sha256(saved.requests(name, DECISIONS)) for name in saved.runs}
    return differences_report(difference_rows(served, base, saved.options(base).seed), alike(decisions))


def saved_json(saved: Saved) -> bytes:
    """A saved result as JSON: the summary of a run; those of a comparison by policy; the rows of a study; the ranking
    and the cells of an arena; the distances of the cases of a validation. What is not finite or not known is null.

    Raises:
        InputError: a file of the folder is missing or wrong.
    """
    return json_of(_values(saved))


def json_of(values: Any) -> bytes:
    """Plain values and those of NumPy as JSON; what is not finite is null."""
    return msgspec.json.format(msgspec.json.encode(values, enc_hook=lambda value: value.tolist()), indent=1)


def _values(saved: Saved) -> Any:
    if saved.kind == "study" and saved.arena:
        return {"ranking": saved.arena.ranking.to_dict("records"), "cells": saved.arena.table.to_dict("records")}
    if saved.kind == "study":
        return {"title": saved.study.title, "runs": saved.study.table.to_dict("records")}
    if saved.kind == "validation":
        return [
            {
                "policy": one.case.policy,
                "at": one.case.at,
                "distances": {k: asdict(d) for k, d in one.distances.items()},
            }
            for one in saved.cases
        ]
    return saved.summaries if saved.kind == "comparison" else next(iter(saved.summaries.values()))
