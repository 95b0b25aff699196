"""Every entry of summary.json is defined, and nothing else is."""

from __future__ import annotations

from typing import get_type_hints

import flowsim
from flowsim.core.summary import BoundSummary, FullSummary, GroupSummary, Inputs
from flowsim.results.definitions.summary_json import BOUND, CLASS, INPUTS, SUMMARY
from support.results import names


def test_the_types_of_a_summary_have_the_entries_that_are_defined() -> None:
    assert get_type_hints(FullSummary).keys() == set(names(SUMMARY))
    assert get_type_hints(BoundSummary).keys() == set(names(BOUND))
    assert get_type_hints(GroupSummary).keys() == set(names(CLASS))
    assert get_type_hints(Inputs).keys() <= set(names(INPUTS))


def test_every_entry_of_a_summary_is_defined(result: flowsim.RunResult) -> None:
    assert list(result.full_summary) == names(SUMMARY)
    assert list(result.summary) == [name for name in names(SUMMARY) if name not in ("bound", "no_bound")]
    assert list(result.summary["clients"]) == ["a"]
    for metrics in (*result.summary["classes"].values(), *result.summary["clients"].values()):
        assert list(metrics) == names(CLASS)
    assert list(result.full_summary["bound"] or ()) == names(BOUND)
    assert list(result.summary["inputs"]) == names(INPUTS)


def test_every_part_of_a_distribution_is_defined(result: flowsim.RunResult) -> None:
    for of in SUMMARY:
        value = result.full_summary[of.name]
        if of.name not in ("bound", "classes", "clients", "inputs"):
            assert of.parts == (tuple(value) if isinstance(value, dict) else ())
    for of in CLASS:
        value = next(iter(result.summary["classes"].values()))[of.name]
        assert of.parts == (tuple(value) if isinstance(value, dict) else ())
