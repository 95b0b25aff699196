"""The columns of requests.parquet."""

from __future__ import annotations

from flowsim.results.definitions.definition import Definition

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
