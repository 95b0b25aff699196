"""A definition names the columns that hold it in a table of runs."""

from __future__ import annotations

from flowsim.results.definitions.definition import Definition


def test_a_metric_has_a_column_of_its_name() -> None:
    of = Definition("span_s", "what was observed")
    assert (of.label, of.columns) == ("span_s", ("span_s",))


def test_each_part_of_a_metric_has_a_column_with_the_unit_last() -> None:
    of = Definition("ttft_s", "time to first token", parts=("mean", "p50"))
    assert (of.label, of.columns) == ("ttft_s: mean, p50", ("ttft_mean_s", "ttft_p50_s"))
