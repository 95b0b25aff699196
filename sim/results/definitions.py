"""What every metric means: the one declaration behind `flowsim metrics`, docs/metrics.md and the columns of files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

TIMES = ("mean", "p50", "p90", "p99", "max")
BLOCKING = ("mean", "p50", "p99", "max")


@dataclass(frozen=True)
class Definition:
    """The definition of one metric.

    Attributes:
        name: in summary.json, or of the column.
        meaning: what it says.
        formula: how it is computed, from other names or from events.
        parts: the entries of a mapping, such as "p50"; a table has a column for each (`columns`).
    """

    name: str
    meaning: str
    formula: str = ""
    parts: Sequence[str] = ()

    @property
    def label(self) -> str:
        """The name with its parts."""
        return f"{self.name}: {', '.join(self.parts)}" if self.parts else self.name

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that hold it in a table of runs: its name, or one for each part ("ttft_p50_s")."""
        return tuple(column_of(self.name, part) for part in self.parts) or (self.name,)


def column_of(name: str, part: str) -> str:
    """The column of a table of runs that holds a part of a metric: "ttft_s" and "p50" give "ttft_p50_s"."""
    return f"{name.removesuffix('_s')}_{part}_s"


POPULATION = (
    "Counted requests have an SLO, arrived after the warm-up, and are decided: finished, rejected, left behind when "
    "the replay ended by itself, or past their deadline when it was stopped. Attainment, goodput, TTFT, queueing, "
    "service, pauses and figures are of counted requests alone; what a stop leaves undecided is in no denominator. "
    "What the devices and schedulers did is of the whole run.",
    'A request without a first token has an infinite TTFT. A quantile that falls among those is "> x" on the screen, '
    "null in summary.json with x in ttft_exceeds_s, and inf in tables. Quantiles are interpolated linearly.",
    "Without a rate, because all requests arrive at one instant, there is no goodput. The rate is that of all "
    "requests, also with a warm-up.",
)
"""What all metrics have in common."""

SUMMARY = (
    Definition("policy", "the policy's specification"),
    Definition("attainment", "share of the counted requests that met their TTFT SLO", "attained / counted"),
    Definition(
        "goodput_rps",
        "requests per second of arrivals that were served in time; null if the trace has no rate",
        "attainment x offered_rps x (requests with an SLO / requests)",
    ),
    Definition(
        "attained_observed_rps",
        "attained requests per second of what was observed",
        "attained / (first arrival after the warm-up to the end of span_s)",
    ),
    Definition(
        "attained_with_drain_rps",
        "attained requests per second of wall time with the drain, as the script of the paper's authors has it",
        "attained / (first arrival after the warm-up to the last completion)",
    ),
    Definition(
        "offered_rps",
        "rate of the arrivals, of all requests; null if all arrive at one instant",
        "(requests - 1) / (first to last arrival)",
    ),
    Definition("requests", "requests replayed", "in_warmup + without_slo + undecided + counted"),
    Definition("in_warmup", "the first requests, which are served but not counted", "floor(warmup x requests)"),
    Definition("without_slo", "requests after the warm-up that have no SLO"),
    Definition(
        "undecided",
        "requests with an SLO, after the warm-up, for which the run was stopped before their deadline",
        "no first token, not rejected, stop - arrival <= SLO",
    ),
    Definition("counted", "requests that count in every metric", "requests - in_warmup - without_slo - undecided"),
    Definition("finished", "of all requests, those that got their first token"),
    Definition("unfinished", "of all requests, those that got none and were not rejected"),
    Definition(
        "rejected", "of all requests, those that were turned away, on arrival by a limit or later by the policy"
    ),
    Definition(
        "ttft_s",
        "time to first token of counted requests, seconds; null where it is beyond every finite value",
        "first token - arrival",
        TIMES,
    ),
    Definition(
        "ttft_exceeds_s",
        "where ttft_s is null, a time that it is known to exceed, seconds; null elsewhere",
        "the same quantile of: TTFT if finished, stop - arrival if the run was stopped, else the largest of these",
        TIMES,
    ),
    Definition(
        "blocking_s",
        "blocking time of every preemption of the run, seconds",
        "acknowledgement - signal; without signals: - the first event that the scheduler had not seen",
        BLOCKING,
    ),
    Definition("preemptions", "passes that were stopped and put aside for another, in the whole run"),
    Definition(
        "utilization", "share of the devices' time in passes, checks included", "busy time / (span_s x instances)"
    ),
    Definition(
        "check_share",
        "the part of utilization that is due to checks",
        "time that passes would not have taken without checks / (span_s x instances)",
    ),
    Definition(
        "control_share",
        "share of the schedulers' time spent deciding, while the device works or not",
        "deciding / (span_s x instances)",
    ),
    Definition(
        "deciding_share",
        "share of the devices' time in which they stood still while their scheduler decided",
        "such time / (span_s x instances)",
    ),
    Definition(
        "hand_over_share",
        "share of the devices' time in which they stood still while word or an order was on its way",
        "hand-overs / (span_s x instances); with utilization, deciding_share and idle_share it adds up to 1",
    ),
    Definition(
        "idle_share",
        "share of the devices' time in which they had nothing to do",
        "1 - utilization - hand_over_share - deciding_share",
    ),
    Definition("decisions", "how often a scheduler decided"),
    Definition(
        "queueing_s",
        "waiting time before the first pass, of counted requests that were not rejected, seconds",
        "first launch (or the end of span_s, if never launched) - arrival",
        TIMES,
    ),
    Definition(
        "service_s",
        "time in passes, of counted requests that finished, seconds",
        "sum of the durations of the passes with the request, pauses left out",
        TIMES,
    ),
    Definition(
        "paused_s",
        "time between first launch and first token outside of passes, of counted requests that finished, seconds",
        "TTFT - queueing - service",
        TIMES,
    ),
    Definition(
        "queueing_share",
        "share of queueing in the TTFTs of counted requests that finished",
        "sum of queueing / of TTFT",
    ),
    Definition("service_share", "share of service in them", "sum of service / sum of TTFT"),
    Definition("paused_share", "share of pauses in them", "1 - queueing_share - service_share"),
    Definition("longest_wait_s", "the largest queueing time of a counted request, seconds", "max of queueing_s"),
    Definition(
        "span_s",
        "what was observed, seconds: the time of utilization and of the shares",
        "first arrival to the last completion or rejection or, if a request is unfinished, to the end of the replay",
    ),
    Definition("bound", "the clairvoyant bound of the workload, as below; null if none is stated"),
    Definition("no_bound", "why bound is null; null also if none was asked for"),
    Definition("classes", "the metrics of each class, as below"),
    Definition("clients", "the metrics of the 20 clients with the most requests, as of a class"),
    Definition("inputs", "where the run comes from, as below"),
)
"""The entries of summary.json."""
APART = ("policy", "bound", "no_bound", "classes", "clients", "inputs")
"""Those that no column of a table of runs holds as they are."""

BOUND = (
    Definition(
        "upper",
        "no scheduler attains a higher share of the counted requests",
        "largest number in time of one machine as fast as all instances, each request at its least work / counted",
    ),
    Definition(
        "lower",
        "the optimum is at least this share",
        "the larger of: attainment; the best replay under a scheduler that knows all arrivals",
    ),
    Definition("hopeless", "counted requests that miss their SLO even alone on a rested GPU, or fit in no instance"),
    Definition("share", "attainment as a share of what any scheduler could attain", "attainment / upper"),
)
"""The entries of "bound" in summary.json."""
BOUND_COLUMNS = (
    Definition("bound_attainment", "the clairvoyant bound: no scheduler attains more; empty if not stated", "upper"),
    Definition("share_of_bound", "attainment as a share of it", "attainment / bound_attainment"),
)
"""The columns that hold the bound in a table of runs; those of a study only with option bound."""

CLASS = (
    Definition("requests", "requests of the class"),
    Definition("undecided", "those that are undecided"),
    Definition("counted", "those that count"),
    Definition("ttft_slo_s", "their TTFT SLO, seconds: the smallest, where they differ; null if there is none"),
    Definition("ttft_slo_max_s", "the largest"),
    Definition("attainment", "share of the counted ones that met it", "attained / counted"),
    Definition(
        "goodput_rps",
        "requests of the class served in time per second of arrivals",
        "attainment x offered_rps x (requests with an SLO / requests)",
    ),
    Definition("offered_rps", "rate of the arrivals of the class", "offered_rps of the run x share of the requests"),
    Definition("ttft_s", "as above, of the class", "first token - arrival", TIMES),
    Definition("ttft_exceeds_s", "as above, of the class", "", TIMES),
)
"""The entries of each class in summary.json."""

INPUTS = (
    Definition("trace", "file name of the trace"),
    Definition("trace_sha256", "SHA-256 of its content"),
    Definition("trace_notices", "what was changed in it before the replay, and which prompts the model cannot serve"),
    Definition("cost_model", "the operator table that the costs are of"),
    Definition("cost_model_sha256", "SHA-256 of the table"),
    Definition("cost_model_kind", "kind of the table: measured, imported or modelled; null for costs given in Python"),
    Definition(
        "cost_model_stated_error",
        "its error in one number, a share; null if not known",
        "measured: median at prompts >= 1024 tokens; imported: largest difference where both kinds were measured",
    ),
    Definition("cost_model_error", "its error on measured passes, by kind: passes, median, max"),
    Definition(
        "cost_model_factors",
        "of an imported table: measured over imported time of prompts, by tokens: median, low and high of the models "
        "and GPUs compared; whether the costs are corrected by the median; the stated error",
    ),
    Definition("cost_model_leave_one_out", "the error on each operator's rows, each left out of its fit"),
    Definition("cost_model_sources", "public measurements in it, and what else the costs hold"),
    Definition("extrapolated", "prompts that reach beyond the measured sizes; null if those are not known"),
    Definition("slo", "the SLOs in words"),
    Definition("format", "option workload.format"),
    Definition("spread", "option workload.spread"),
    Definition("drop_failed", "option workload.drop_failed"),
    Definition("window", "option workload.window"),
    Definition("limit", "option workload.limit"),
    Definition("rate_scale", "option workload.rate_scale"),
    Definition("rate_rps", "option workload.rate_rps"),
    Definition("mix", "option workload.mix"),
    Definition("rates", "option workload.rates"),
    Definition("prefix_cache", "option workload.prefix_cache"),
    Definition("new_tokens", "option workload.new_tokens"),
    Definition("slo_scale", "option slo.scale"),
    Definition("slo_targets", "option slo.targets"),
    Definition("shares", "option slo.shares: the shares in which classes were drawn"),
    Definition("predictor", "option predictor"),
    Definition("seed", "option seed"),
    Definition("until_s", "option until_s"),
    Definition("warmup", "option warmup"),
    Definition("server", "options server.*"),
    Definition("cached_share", "share of the input tokens that the prefix cache held"),
    Definition("version", "of flowsim"),
)
"""The entries of "inputs" in summary.json."""

REQUESTS = (
    Definition("key", "key of the run; only in the folder of a study"),
    Definition("id", "place in the trace, from 0"),
    Definition("class", "class of the request"),
    Definition("priority", "its priority; only if the trace has some"),
    Definition("client", "the client that sent it; only if the trace names some"),
    Definition("instance", "instance that it went to; -1 for none"),
    Definition("state", "finished, rejected or unfinished"),
    Definition("input_tokens", "length of the prompt"),
    Definition("cached_tokens", "tokens of it that the prefix cache held; only with a prefix cache"),
    Definition("output_tokens", "tokens that were generated, as the trace has it"),
    Definition("arrival_s", "arrival, seconds of the replay"),
    Definition("started_s", "launch of the first pass with it; NaN for never"),
    Definition("finished_s", "its first token; NaN for never"),
    Definition("ttft_s", "time to first token; NaN for never", "finished_s - arrival_s"),
    Definition("ttft_slo_s", "its TTFT SLO; NaN for none"),
    Definition("attained", "whether it met its SLO", "ttft_s <= ttft_slo_s"),
    Definition(
        "counted",
        "whether it counts in every metric of the run",
        "has an SLO, after the warm-up, and finished, rejected, left behind or past its deadline",
    ),
    Definition(
        "queueing_s", "waiting time before its first pass; NaN if rejected", "started_s (or the end) - arrival_s"
    ),
    Definition("service_s", "duration of the completed passes with it"),
    Definition("paused_s", "the rest of its TTFT; NaN if unfinished", "ttft_s - queueing_s - service_s"),
    Definition("preemptions", "how often a pass with it was preempted"),
)
"""The columns of requests.parquet; times in seconds, one row per request."""

COMPARED = (
    "attainment", "goodput_rps", "ttft_p50_s", "ttft_p90_s", "ttft_p99_s", "blocking_mean_s", "blocking_p99_s",
    "preemptions", "utilization", "unfinished", "rejected",
)  # fmt: skip
"""The first columns of comparison.csv, which notebooks show; then come attainment_CLASS of each class, and FURTHER."""
FURTHER = (
    "undecided", "counted", "offered_rps", "attained_observed_rps", "attained_with_drain_rps", "ttft_exceeds_p50_s",
    "ttft_exceeds_p90_s", "ttft_exceeds_p99_s", "queueing_share", "service_share", "paused_share", "check_share",
    "hand_over_share", "deciding_share", "idle_share", "control_share", "bound_attainment", "share_of_bound",
)  # fmt: skip
"""The last columns of comparison.csv. All are columns of SUMMARY or of BOUND_COLUMNS."""

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
        "attainment_low",
        "lower bound of the 95 % interval of attainment",
        "Wilson, at the effective number of requests",
    ),
    Definition("attainment_high", "upper bound of it"),
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
    *BOUND_COLUMNS,
)
"""The columns of runs.parquet that no option of a run and no entry of a summary names."""


def summary_columns(classes: Sequence[str] = ()) -> dict[str, Definition]:
    """The columns that hold a summary in a table of runs, also of these classes ("attainment_text")."""
    found = {column: of for of in SUMMARY if of.name not in APART for column in of.columns}
    for name in classes:
        found |= {f"{column}_{name}": of for of in CLASS for column in of.columns}
    return found


def compared(classes: Sequence[str] = ()) -> dict[str, Definition]:
    """The columns of comparison.csv; one row per policy."""
    known = summary_columns() | {of.name: of for of in BOUND_COLUMNS}
    attained = next(of for of in CLASS if of.name == "attainment")
    by_class = {f"attainment_{name}": attained for name in classes}
    return {name: known[name] for name in COMPARED} | by_class | {name: known[name] for name in FURTHER}


def tables() -> Mapping[str, Sequence[Definition]]:
    """Every file and part of a file with its definitions."""
    return {
        "summary.json": SUMMARY,
        "summary.json, each of classes": CLASS,
        "summary.json, bound": BOUND,
        "summary.json, inputs": INPUTS,
        "requests.parquet": REQUESTS,
        "comparison.csv": [Definition(name, of.meaning, of.formula) for name, of in compared(["CLASS"]).items()],
        "runs.parquet, besides options and summary": RUNS,
    }


def describe_metrics() -> dict[str, list[tuple[str, str, str]]]:
    """Every metric and column by file: its name, what it is, and its formula."""
    return {title: [(of.label, of.meaning, of.formula) for of in defined] for title, defined in tables().items()}


@cache
def digest() -> str:
    """SHA-256 of names and formulas: a stored run whose metrics were computed otherwise is run again."""
    formulas = [(place, of.name, of.formula) for place, definitions in tables().items() for of in definitions]
    return hashlib.sha256(repr(formulas).encode()).hexdigest()
