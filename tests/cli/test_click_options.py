"""What is wrong with an option of a run."""

from __future__ import annotations

import pytest

from flowsim.policies.catalogue import TABLE
from support.cli import refused

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "--policy fcfss",
            f"--policy: unknown policy 'fcfss'; did you mean 'fcfs'? (known: {', '.join(sorted(TABLE))})",
        ),
        ("--policy flowprefill:cutt=layer", "unknown option 'cutt' of policy flowprefill; did you mean 'cut'?"),
        ("--policy flowprefill:cut=lair", "unknown cut 'lair'; did you mean 'layer'?"),
        ("--policy chunked:0", "option budget must be >= 1, got 0"),
        ("--policy chunked:many", "option budget must be a whole number, got 'many'"),
        ("--predictor cubik", "--predictor: unknown predictor 'cubik'; did you mean 'cubic'?"),
        ("--predictor biased:0", "predictor must be biased:NUMBER with a number from 0.001 to 1000, got 'biased:0'"),
        ("--predictor noisy", "predictor must be noisy:NUMBER with a number from 0 to 10, got 'noisy'"),
        ("--router lest-work", "--router: unknown router 'lest-work'; did you mean 'least-work'?"),
        ("--format qwenn", "unknown trace format 'qwenn'; did you mean 'qwen'?"),
        ("--format azure", "t.jsonl: line 1: has no field 'TIMESTAMP' among 'arrival_s"),
        ("--model llama3-80b", "--model: unknown model 'llama3-80b' on h200; did you mean 'llama3-8b'?"),
        ("--gpu h201", "--gpu: unknown gpu 'h201'; did you mean 'h200'?"),
        ("--tp 3", "--tp must be a divisor of llama3-8b's heads, 32, got 3"),
        ("--slo qwen2.5-14", "--slo: unknown SLO mix 'qwen2.5-14'; did you mean 'qwen2.5-14b'?"),
        ("--slo 0", "--slo must be > 0, got 0.0"),
        ("--slo text=soon", "--slo must be CLASS=SECONDS pairs, got 'text=soon'"),
        ("--slo audio=1", "--slo: unknown class 'audio' of t.jsonl (known: search, text)"),
        ("--slo txt=.5,*=1", "--slo: unknown class 'txt' of t.jsonl; did you mean 'text'?"),
        ("--prefix-cache idael", "--prefix-cache: unknown prefix cache 'idael'; did you mean 'ideal'?"),
        ("--slo absent.yaml", "absent.yaml: cannot be read: No such file or directory; expected a mapping with"),
        ("--slo-scale 0", "--slo-scale must be > 0, got 0.0"),
        ("--slo-scale nan", "--slo-scale must be a number > 0, got nan"),
        ("--rate-scale 0", "--rate-scale must be > 0, got 0.0"),
        ("--rate-scale nan", "--rate-scale must be a number > 0, got nan"),
        ("--rate-scale -1", "--rate-scale must be > 0, got -1.0"),
        ("--rate-scale 1e-300", "rate factor must be finite and > 0, with all times <= 2**40 s, got 1e-300"),
        ("--rate-scale fast", "Invalid value for '--rate-scale': 'fast' is not a valid float."),
        ("--limit 5 --limit 5", "--limit: is given twice"),
        ("--limit 0", "--limit must be >= 1, got 0"),
        ("--limit few", "Invalid value for '--limit': 'few' is not a valid integer."),
        ("--window nonsense", "--window must be FROM:TO in seconds, with 0 <= FROM < TO, got 'nonsense'"),
        ("--window 5:1", "--window must be FROM:TO in seconds, with 0 <= FROM < TO, got '5:1'"),
        ("--window 5", "--window must be FROM:TO in seconds, with 0 <= FROM < TO, got '5'"),
        ("--window nan:", "--window must be FROM:TO in seconds, with 0 <= FROM < TO, got 'nan:'"),
        ("--window 100:200", "no request arrives from 100 s to 200 s; expected a window within 0 to 2 s"),
        ("--instances 0", "--instances must be >= 1, got 0"),
        ("--slots 0", "--slots must be >= 1, got 0"),
        ("--kv-tokens 0", "--kv-tokens must be >= 1, got 0"),
        ("--max-batched-tokens -8", "--max-batched-tokens must be >= 1, got -8"),
        ("--graph-tokens 100", "--graph-tokens must be a multiple of 64, got 100"),
        (
            "--graph-tokens 64 --tp 2",
            "--graph-tokens: h200/llama3-8b/tp2 was measured without recorded forwards; expected 0",
        ),
        ("--until -1", "--until must be > 0, got -1.0"),
        ("--until nan", "--until must be a number > 0, got nan"),
        ("--seed -1", "--seed must be >= 0, got -1"),
        ("--polcy fcfs", "No such option '--polcy'. Did you mean '--policy'?"),
        ("--cost absent --gpu h200 --tp 2", "--gpu, --tp: given together with --cost, whose table says it"),
        ("--cost absent", "absent: is not a folder; expected an operator table (shipped tables are named by --gpu"),
        ("--cost t.jsonl", "t.jsonl: is not a folder; expected an operator table"),
        ("--cost=", "--cost must be a folder, got ''"),
        ("--out t.jsonl", "t.jsonl: is a file; expected a folder, new or existing"),
        ("--out t.jsonl/deeper", "t.jsonl/deeper: cannot be written"),
        ("more", "Got unexpected extra argument (more)"),
    ],
)
def test_a_wrong_option_is_refused(options: str, message: str) -> None:
    out = [] if "--out" in options else ["--out", "results"]
    assert message in refused("run", "t.jsonl", *options.split(), *out)
    if "extra argument" not in message:
        assert message in refused("compare", "t.jsonl", *options.split(), *out)
