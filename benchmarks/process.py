"""A benchmark case in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TRACES = Path(__file__).resolve().parents[2] / "shared" / "traces"
AZURE = "azure_llm_2023/AzureLLMInferenceTrace_conv.csv.gz"
MOONCAKE = "mooncake_fast25/conversation_trace.jsonl.gz"


def source(traces: Path, name: str) -> str:
    """A production trace where there is one, and else as many generated requests."""
    return str((traces / name).resolve()) if (traces / name).exists() else "synthetic:20000"


def case(*arguments: str, python: Path | str = sys.executable) -> dict[str, Any]:
    """Run one case on one core: the idle threads of NumPy's BLAS count as CPU time, too.

    Args:
        arguments: what `benchmarks/case.py` runs.
        python: the interpreter, and with it the version of flowsim.
    """
    command = [str(python), "-P", str(Path(__file__).with_name("case.py")), *arguments]
    alone = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=alone, cwd=folder)
    return dict(json.loads(done.stdout.splitlines()[-1]))
