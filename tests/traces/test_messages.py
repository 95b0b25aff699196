"""What flowsim says when a trace, or what is done with it, is wrong: one message of each kind, word for word."""

# ruff: noqa: E501

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowsim.errors import InputError
from flowsim.traces import (
    Trace,
    find_format,
    load_trace,
    merge,
    new_tokens,
    pull,
    read_trace,
    reusable_tokens,
    reweighted,
    sample,
    synth,
    with_rates,
    write_trace,
)
from flowsim.traces.combine import parse_mix

OWN = '{"arrival_s": 0, "input_length": 5}\n'
BURSTGPT = "Timestamp,Request tokens,Response tokens,Total tokens\n"
AZURE = "TIMESTAMP,ContextTokens\n2023-11-16 18:15:46,7\n"
TRACE = Trace.of([0, 1, 2], [5, 6, 7], classes=["text", "text", "file"])
CLIENT = {"rate": 1, "shape": 1, "family": "Gamma", "input_pdf": {"5": 1}, "output_pdf": {"7": 1}}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def said(call):
    with pytest.raises(InputError) as error:
        call()
    return str(error.value)


def read(content, format=None, **how):
    def call():
        Path("t").write_bytes(content if isinstance(content, bytes) else content.encode())
        read_trace("t", format, **how)

    return call


def parquet(**columns):
    def call():
        pq.write_table(pa.table(columns), "t")
        read_trace("t")

    return call


def clients(text=None, **changed):
    def call():
        Path("t").write_text(text or json.dumps({"clients": [CLIENT | changed]}), encoding="utf-8")
        synth("t")

    return call


CALLS = {
    "files": [
        lambda: load_trace("none.csv"),
        lambda: read_trace("none.csv"),
        lambda: read_trace("."),
        read(""),
        read("hello"),
        read('{"clients": []}'),
        read("TIMESTAMP,ContextTokens\n"),
        read(OWN, "azure"),
        read(OWN, "azur"),
        read(b"\xff"),
        read(gzip.compress(OWN.encode(), mtime=0)[:-9]),
    ],
    "rows": [
        read(OWN + "{oops"),
        read(OWN + "[1]"),
        read(OWN + '{"arrival_s": 1}'),
        read(OWN + '{"arrival_s": 1, "input_length": 5, "input_length": 9}'),
        read(AZURE + '2023-11-16 18:15:47,"8'),
        read(AZURE + "2023-11-16 18:15:47,8,9"),
        read("TIMESTAMP,ContextTokens,ContextTokens\n"),
    ],
    "fields": [
        read(OWN + '{"arrival_s": -1, "input_length": 5}'),
        read(OWN + '{"arrival_s": 1, "input_length": null}'),
        read(OWN + '{"arrival_s": 1, "input_length": 5, "output_length": 0.5}'),
        read(OWN + '{"arrival_s": 1, "input_length": 5, "class": ""}'),
        read(OWN + '{"arrival_s": 1, "input_length": 5, "hash_ids": [-1]}'),
        read(OWN + '{"arrival_s": 1, "input_length": 5, "block_tokens": -1}'),
        read(OWN + '{"arrival_s": 1, "input_length": 5, "hash_ids": [1]}'),
        read(OWN + '{"arrival_s": 1, "input_length": 5, "turn": -2}'),
        read('{"timestamp": -1, "input_length": 5, "hash_ids": []}'),
        read(AZURE + "yesterday,8"),
        parquet(arrival_s=[0.0, 1.0], input_length=[5, 0]),
        read(OWN + '{"arrival_s": 1, "input_length": 5, "slo_s": 0}'),
        read(OWN + '{"arrival_s": 1, "input_length": 5, "priority": 1.5}'),
        read(OWN + '{"arrival_s": 1, "input_length": 5, "client": 7}'),
        read('{"arrival_s": 1, "input_length": 0}', drop_failed=True),
    ],
    "contradictions": [
        read('{"timestamp": 0, "input_length": 1500, "hash_ids": [1]}'),
        read('{"timestamp": 0, "input_length": 7, "hash_ids": [1, 2]}'),
        read(BURSTGPT + "5,7,3,11\n"),
        read(OWN + '{"arrival_s": 1, "input_length": 5, "chat_id": 3, "parent_chat_id": 3}'),
        read(OWN + '{"arrival_s": 1, "input_length": 5, "parent_chat_id": 3, "turn": 1}'),
    ],
    "columns": [
        lambda: Trace.of([], []),
        lambda: Trace.of([0, -1], [5, 5]),
        lambda: Trace.of([0, 1], [5, 0]),
        lambda: Trace.of([0, 1], [5, 5], classes=["a", ""]),
        lambda: Trace.of([0, 1], [5, 5], slo_s=[1.0, -1.0]),
        lambda: Trace.of([0, 1], [5, 5], priority=[1.0, 2.0]),
        lambda: Trace.of([0, 1], [5, 5], clients=[7, None]),
        lambda: Trace.of([0, 1], [5]),
        lambda: Trace.of([0, 1], ["5", "5"]),
    ],
    "formats": [
        lambda: find_format("arival_s=a"),
        lambda: find_format("arrival_s=a"),
        lambda: find_format("arrival_s=a,arrival_s=b"),
        lambda: find_format("arrival_s="),
    ],
    "writing": [
        lambda: write_trace(TRACE, "t.txt"),
        lambda: write_trace(TRACE, "t.csv", "mooncake"),
        lambda: write_trace(TRACE, "none/t.csv"),
        lambda: write_trace(TRACE.scaled(1e-10), "t.csv", "azure"),
    ],
    "changing": [
        lambda: TRACE.scaled(0),
        lambda: TRACE.head(0),
        lambda: TRACE.window(5, 9),
        lambda: TRACE.sample(4),
        lambda: TRACE.sample(2, seed=-1),
        lambda: merge([TRACE]),
        lambda: merge([TRACE, TRACE], by_date=True),
        lambda: parse_mix("text:.5"),
        lambda: sample(TRACE, mix={"txt": 0.5}),
        lambda: reweighted(TRACE, {"text": 1.5}),
        lambda: reweighted(TRACE, {"text": 0.9, "file": 0.9}),
        lambda: reweighted(TRACE, {"text": 0.1, "file": 0.1}),
        lambda: reweighted(TRACE.head(2), {"file": 0.5}),
        lambda: reweighted(Trace.of([0], [5]), {"text": 0.5}),
        lambda: with_rates(TRACE, {"chat": 1}),
        lambda: with_rates(TRACE.head(1), {"text": 1}),
    ],
    "prefixes": [
        lambda: reusable_tokens(TRACE),
        lambda: new_tokens(TRACE),
    ],
    "synthesizing": [
        lambda: synth("qwn"),
        lambda: synth("qwen", 0),
        lambda: synth("qwen", rate_rps=0),
        lambda: synth("qwen", arrivals="gama"),
        lambda: synth("qwen", arrivals="gamma:99"),
        lambda: synth("qwen", profile="ramp:1"),
        lambda: synth("qwen", duration_s=9),
        clients("{"),
        clients("[]"),
        clients(rate=-1),
        clients(rate=0),
        clients(family="Normal"),
        clients(shape=0),
        clients(rate=1e9),
        clients(input_pdf={"0": 1}),
    ],
    "pulling": [
        lambda: pull("azure"),
        lambda: pull("../mine", url="http://127.0.0.1:1", sha256="0" * 64),
        lambda: pull("mine", url="http://127.0.0.1:1", sha256="0"),
        lambda: pull("mine", "none/t.jsonl", url="http://127.0.0.1:1", sha256="0" * 64),
    ],
}

MESSAGES = {
    "files": r"""
none.csv: no such file; expected a trace file or a built-in trace (example)
none.csv: cannot be read (No such file or directory)
.: is a folder; expected a trace file
t: is empty; expected one request per line
t: line 1: has csv fields that fit no known format: 'hello'; expected flowsim (jsonl: arrival_s, input_length); qwen (jsonl: timestamp, input_length, type); mooncake (jsonl: timestamp, input_length, hash_ids); azure (csv: TIMESTAMP, ContextTokens); burstgpt (csv: Timestamp, Request tokens); vidur (csv: arrived_at, num_prefill_tokens); or fields that you name (arrival_s=FIELD,...)
t: line 1: has jsonl fields that fit no known format (flowsim traces synth makes a trace from ServeGen's clients): 'clients'; expected flowsim (jsonl: arrival_s, input_length); qwen (jsonl: timestamp, input_length, type); mooncake (jsonl: timestamp, input_length, hash_ids); azure (csv: TIMESTAMP, ContextTokens); burstgpt (csv: Timestamp, Request tokens); vidur (csv: arrived_at, num_prefill_tokens); or fields that you name (arrival_s=FIELD,...)
t: has no requests; expected one request per line
t: line 1: has no field 'TIMESTAMP' among 'arrival_s, input_length'; expected TIMESTAMP and ContextTokens (format azure)
format: unknown trace format 'azur'; did you mean 'azure'? (known: aiperf, azure, bench-serving, burstgpt, flowsim, guidellm, mooncake, qwen, vidur)
t: line 1: byte 0xff is not UTF-8; expected text in UTF-8, plain, gzip or zstd, or a Parquet file
t: gzip data damaged or cut off after line 1 (Compressed file ended before the end-of-stream marker was reached)
""",
    "rows": r"""
t: line 2: is not JSON (Expecting property name enclosed in double quotes): '{oops'; expected one JSON object per line
t: line 2: is not a JSON object: [1]; expected one JSON object per line
t: line 2: has no field 'input_length' among 'arrival_s'; expected arrival_s and input_length (format flowsim)
t: line 2: input_length must be a whole number of tokens from 1 to 2**40, got 2 values (5, 9)
t: line 3: is not CSV (unexpected end of data); expected fields separated by commas
t: line 3: has 3 fields; expected 2, as in the header
t: line 1: ContextTokens: occurs 2 times
""",
    "fields": r"""
t: line 2: arrival_s must be a finite number of seconds from 0 to 2**40, got -1
t: line 2: input_length must be a whole number of tokens from 1 to 2**40, got nothing
t: line 2: output_length must be a whole number of tokens from 0 (unknown) to 2**40, got 0.5
t: line 2: class must be a non-empty Unicode string or null, got ''
t: line 2: hash_ids must be a list of whole numbers from 0 to 2**63 - 1, got [-1]
t: line 2: block_tokens must be a whole number of tokens >= 1, got -1
t: block_tokens: is missing; expected one size >= 1 for all rows with hash_ids
t: line 2: turn must be a whole number from -1 (none) to 2**63 - 1, got -2
t: line 1: timestamp must be a finite number of milliseconds from 0 to 1000 * 2**40, got -1
t: line 3: TIMESTAMP must be a UTC date and time such as 2023-11-16 18:15:46.6805900, got 'yesterday'
t: row 2: input_length must be a whole number of tokens from 1 to 2**40 (0 is that of a request which failed on the server: --drop-failed drops such rows), got 0
t: line 2: slo_s must be a finite number of seconds > 0 and <= 2**40, or null, got 0
t: line 2: priority must be a whole number from -2**63 to 2**63 - 1, or null, got 1.5
t: line 2: client must be a non-empty Unicode string or null, got 7
t: has no requests (dropped: 1 request that failed on the real server); expected one request per line
""",
    "contradictions": r"""
t: line 1: hash_ids: has 1 blocks of 512 tokens for a prompt of 1500 tokens; expected 2 or 3
t: line 1: hash_ids: has 2 blocks of 512 tokens for a prompt of 7 tokens; expected 1
t: line 2: Total tokens: is 11; expected 10, the sum of input and output
t: line 2: parent_chat_id: is 3, the request's own id; expected another request's, or -1
t: line 2: turn: is 1 although the request continues 3; expected >= 2, or no parent
""",
    "columns": r"""
built in memory: has no requests
arrival_s[1] must be a finite number of seconds from 0 to 2**40, got -1
input_length[1] must be a whole number of tokens from 1 to 2**40, got 0
classes[1] must be a non-empty Unicode string or null, got ''
slo_s[1] must be a finite number of seconds > 0 and <= 2**40, or null, got -1.0
priority: is an array of float64 of shape [2]; expected a whole number from -2**63 to 2**63 - 1, or null
clients[0] must be a non-empty Unicode string or null, got 7
input_length: has 1 value; expected 2, as in arrival_s
input_length: is an array of <U1 of shape [2]; expected one number per request
""",
    "formats": r"""
trace format 'arival_s=a': unknown key 'arival_s'; did you mean 'arrival_s'? (known: arrival_date, arrival_ms, arrival_s, class, client, input_length, latency_ms, latency_s, output_length, priority, slo_s, ttft_ms, ttft_s)
trace format 'arrival_s=a': has arrival_s; expected one of arrival_s, arrival_ms and arrival_date, and input_length
trace format 'arrival_s=a,arrival_s=b': arrival_s: is given twice
trace format 'arrival_s=': arrival_s: names no field
""",
    "writing": r"""
t.txt: its ending names no layout; expected .jsonl or .csv (then .gz or .zst to compress) or .parquet
t.csv: its ending names csv; expected .jsonl, the layout of mooncake
none/t.csv: cannot be written (No such file or directory)
t.csv: trace spans 2e+10 s; expected dates until 2099-12-31
""",
    "changing": r"""
rate factor must be finite and > 0, with all times <= 2**40 s, got 0
number of requests to keep must be >= 1, got 0
trace: no request arrives from 5 s to 9 s; expected a window within 0 to 2 s
number of requests to draw must be from 1 to 3, as in trace, got 4
seed must be >= 0, got -1
number of traces to merge must be >= 2, got 1
trace: its dates are not known; expected dates, or a merge without --by-date
mix must be CLASS=SHARE pairs, got 'text:.5'
mix: unknown class 'txt'; did you mean 'text'? (known: file, text)
mix: text must be from 0 to 1, got 1.5
sum of the shares of the mix must be <= 1, got 1.8
sum of the shares of the mix must be 1, since no other class is left, got 0.2
trace: has no request of class 'file' to draw from
trace: has no classes, so their mix cannot be changed
class rates: unknown class 'chat' (known: file, text)
trace: has no rate: all requests arrive at one instant
""",
    "prefixes": r"""
trace: has no prefix blocks (hash_ids)
trace: has no conversations (chat_id, parent_chat_id), from which new tokens are found
""",
    "synthesizing": r"""
preset: unknown preset 'qwn'; did you mean 'qwen'? (known: azure-code, azure-conversation, mooncake-conversation, qwen, qwen-a)
requests must be from 1 to 100000000, got 0
rate_rps must be finite and > 0, with all times <= 2**40 s, got 0
process: unknown arrival process 'gama'; did you mean 'gamma:CV'? (known: gamma:CV, poisson, weibull:CV)
arrival process must be poisson; gamma:CV with 0.001 <= CV <= 30; weibull:CV with 0.05 <= CV <= 20, got 'gamma:99'
rate profile must be constant, ramp:FROM:TO, daily:SWING or step:AT=FACTOR,AT=FACTOR (factors > 0, 0 <= SWING <= 1, times ascending), got 'ramp:1'
duration_s: does not apply to presets
t: is not JSON (Expecting property name enclosed in double quotes); expected the name of a preset or a ServeGen specification
t: is not a ServeGen specification; expected an object with a list of clients, each with rate, family (Gamma or Weibull), shape, input_pdf and output_pdf
t: client 1: rate must be a finite number >= 0, got -1
t: has no client with a request in 600 s
t: client 1: family must be Gamma or Weibull, got 'Normal'
t: client 1: shape must be >= 0.001, got 0.0
t: client 1: has 6e+11 requests in 600 s (mean gap 1e-09 s); expected <= 100000000 requests
t: client 1: input_pdf must be a mapping of tokens (>= 1) to probability, got {'0': 1}
""",
    "pulling": r"""
unknown published trace 'azure' (known: azure-conversation-2023, mooncake-conversation)
'../mine': is not a file name; expected a name without folders, or a path to write to
mine: sha256 must be 64 hexadecimal digits, got '0'
none/t.jsonl: cannot be written (none is not a folder)
""",
}


@pytest.mark.parametrize("kind", CALLS)
def test_messages(kind):
    assert "\n".join(map(said, CALLS[kind])) == MESSAGES[kind].strip("\n")
