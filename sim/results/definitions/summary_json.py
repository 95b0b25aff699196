"""The entries of summary.json, of a class, the bound and the inputs in it, and the columns that hold them in tables."""

from __future__ import annotations

from collections.abc import Sequence

from flowsim.results.definitions.definition import Definition

TIMES = ("mean", "p50", "p90", "p99", "max")
BLOCKING = ("mean", "p50", "p99", "max")

SUMMARY = (
    Definition("policy", "the policy's specification"),
    Definition("attainment", "share of the counted requests that met their TTFT SLO", "attained / counted"),
    Definition(
        "goodput_rps",
        "requests per second of arrivals that were served in time; null if the trace has no rate",
        "attainment x offered_rps (in a closed loop: requests / span_s) x (requests with an SLO / requests)",
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
        "rate of the arrivals, of all requests; null if all arrive at one instant, and in a closed loop",
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
        "the same quantile of: TTFT if finished; stop - arrival if unfinished when the run was stopped; the largest of "
        "these if it will never come (rejected, or left behind when the run ended by itself)",
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
    Definition("classes", "the metrics of each class, as below"),
    Definition("clients", "the metrics of the 20 clients with the most requests, as of a class"),
    Definition("inputs", "where the run comes from, as below"),
    Definition("bound", "the clairvoyant bound of the workload, as below; null if none is stated"),
    Definition("no_bound", "why bound is null; null also if none was asked for"),
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
    Definition("hopeless", "counted requests whose least work takes longer than their SLO, or that fit in no instance"),
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
        "the part of the run's goodput that is of the class: those of all classes add up to it",
        "goodput_rps of the run x (attained of the class / attained)",
    ),
    Definition("offered_rps", "rate of the arrivals of the class", "offered_rps of the run x share of the requests"),
    Definition("ttft_s", "as above, of the class", "first token - arrival", TIMES),
    Definition("ttft_exceeds_s", "as above, of the class", "", TIMES),
)
"""The entries of each class in summary.json."""

INPUTS = (
    Definition("trace", "file name of the trace"),
    Definition("trace_sha256", "SHA-256 of its content"),
    Definition(
        "trace_notices",
        "what was changed in it before the replay, and which prompts are too long for the model or its predictor",
    ),
    Definition("cost_model", "the operator table that the costs are of"),
    Definition("cost_model_sha256", "SHA-256 of the table"),
    Definition("cost_model_kind", "kind of the table: measured, imported or modelled; null for costs given in Python"),
    Definition(
        "cost_model_stated_error",
        "its error in one number, a share; null if not known",
        "measured: median at prompts >= 1024 tokens; imported: largest difference where both kinds were measured; "
        "modelled: largest median of tables that were modelled likewise without what was measured",
    ),
    Definition(
        "cost_model_error",
        "its error on measured passes, by kind: passes, median, max; of a modelled table, of those modelled likewise",
    ),
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
    Definition("concurrency", "option workload.concurrency"),
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


def summary_columns(classes: Sequence[str] = ()) -> dict[str, Definition]:
    """The columns that hold a summary in a table of runs, also of these classes ("attainment_text")."""
    found = {column: one for one in SUMMARY if one.name not in APART for column in one.columns}
    for name in classes:
        found |= {f"{column}_{name}": one for one in CLASS for column in one.columns}
    return found
