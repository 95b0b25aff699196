"""The columns of runs.parquet, the table of a study."""

from __future__ import annotations

from flowsim.results.definitions.definition import Definition
from flowsim.results.definitions.summary_json import BOUND_COLUMNS, CLASS, summary_columns

RUNS = (
    Definition("key", "SHA-256 of all inputs of the run and of the metrics' definitions"),
    Definition("error", "why the run failed; empty if it did not"),
    Definition("trace_sha256", "as in the inputs of summary.json"),
    Definition("cost_model", "as in the inputs of summary.json"),
    Definition("cost_model_sha256", "as in the inputs of summary.json"),
    Definition("cost_model_kind", "as in the inputs of summary.json"),
    Definition("cost_model_stated_error", "as in the inputs of summary.json"),
    Definition("version", "of flowsim"),
    Definition("served_sha256", "SHA-256 of the requests as served: arrivals, lengths, SLOs, classes, cached tokens"),
    Definition("arrivals_sha256", "SHA-256 of arrivals, as shares of their span, and lengths"),
    Definition("decisions_sha256", "SHA-256 of when and where each request was begun, preempted and finished"),
    Definition("slo_rule", "the SLOs in words"),
    Definition("rate_rps_replayed", "as offered_rps"),
    Definition("trace_notices", "how the trace was read, and which prompts the model cannot serve, one per line"),
    Definition(
        "ci_attainment_low",
        "lower bound of the 95 % interval of attainment",
        "Wilson, at the effective number of requests",
    ),
    Definition("ci_attainment_high", "upper bound of it"),
    Definition("late", "counted requests that missed their SLO", "counted - attained"),
    Definition(
        "starved",
        "counted requests known to have waited more than 10 SLOs for their first token, or that never get it",
        "TTFT (or stop - arrival) > 10 x SLO",
    ),
    Definition("target", "of a search: the share of requests that must meet their SLO, of all or by class"),
    Definition(
        "max_rate_attainment_rps",
        "max goodput by the attainment rule (DistServe's, the paper's): the highest rate tried that meets the target; "
        "0 for none",
        "highest rate tried with attainment >= target",
    ),
    Definition(
        "fails_at_attainment_rps",
        "the next higher rate tried, which misses it; infinite if none was tried",
        "lowest rate tried above max_rate_attainment_rps",
    ),
    Definition("limited_by_attainment", 'what misses its target there: attainment, of all or of a class; or "nothing"'),
    Definition(
        "dips_at_attainment_rps",
        "a lower rate that misses the target all the same; empty if there is none",
        "lowest rate tried that misses it, if below max_rate_attainment_rps",
    ),
    Definition(
        "returns_at_attainment_rps",
        "where the target is met again; empty if there is no such dip",
        "lowest rate tried above dips_at_attainment_rps that meets it",
    ),
    Definition(
        "max_rate_sustained_rps",
        "max goodput by the sustained rule: the highest rate tried that meets the target and at which the server keeps "
        "up; 0 for none. The figures of a search are of the run at this rate",
        "highest rate tried with attainment >= target, every request finished or rejected (unless the run is stopped), "
        "and a queue, without those rejected on arrival, that empties in the last third of their arrivals",
    ),
    Definition(
        "fails_at_sustained_rps",
        "the next higher rate tried, which is not sustained; infinite if none was tried",
        "lowest rate tried above max_rate_sustained_rps",
    ),
    Definition(
        "limited_by_sustained",
        "what is lacking there: attainment, of all or of a class; queue: it only grew; left behind: requests that were "
        'neither served nor rejected; or "nothing"',
    ),
    Definition(
        "dips_at_sustained_rps",
        "a lower rate that is not sustained all the same; empty if there is none",
        "lowest rate tried that is not sustained, if below max_rate_sustained_rps",
    ),
    Definition(
        "returns_at_sustained_rps",
        "where a rate is sustained again; empty if there is no such dip",
        "lowest rate tried above dips_at_sustained_rps that is sustained",
    ),
    Definition("probes", "runs that the search took, for both rules"),
    Definition(
        "bound_rate_rps",
        "of a search with option bound: no scheduler meets the target at this rate or above; infinite if the bound "
        "allows it at every rate tried, empty with weights",
        "lowest rate tried above the highest at which the clairvoyant bound is >= target",
    ),
    *BOUND_COLUMNS,
)
"""The columns of runs.parquet that no option of a run and no entry of a summary names."""
TEXTS = (
    "key", "policy", "error", "trace_sha256", "cost_model", "cost_model_sha256", "cost_model_kind", "version",
    "served_sha256", "arrivals_sha256", "decisions_sha256", "slo_rule", "trace_notices", "limited_by_attainment",
    "limited_by_sustained",
)  # fmt: skip
"""Those of them that hold text, and the policy."""
OF_CLASSES = tuple(f"{column}_" for of in CLASS for column in of.columns)
"""What the names of the columns of a class begin with."""


def is_number(column: str) -> bool:
    """Whether a column other than an option of a run holds numbers; `target` may hold shares by class."""
    others = {of.name for of in RUNS} - {*TEXTS, "target"}
    return column in others or column in summary_columns([]) or column.startswith(OF_CLASSES)
