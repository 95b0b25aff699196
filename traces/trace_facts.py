"""What a trace holds, as plain values, as a page for notebooks, as a table, and as one digest."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from flowsim.io.notebook import facts_html
from flowsim.traces.columns import ABSENT, MEASURED

if TYPE_CHECKING:
    import pandas as pd

    from flowsim.traces.trace import Trace


def facts_of(trace: Trace) -> dict[str, Any]:
    """See `Trace.describe`."""
    p50, p99 = np.percentile(trace.input_length, (50, 99))
    counts = np.bincount(trace.class_code + 1, minlength=len(trace.class_names) + 1).tolist()
    return {
        "name": trace.name,
        "source": trace.source,
        "sha256": trace.sha256,
        "requests": len(trace),
        "span_s": trace.span_s,
        "rate_rps": trace.rate_rps,
        "input_mean": float(trace.input_length.mean()),
        "input_p50": float(p50),
        "input_p99": float(p99),
        "input_max": int(trace.input_length.max()),
        "classes": dict(zip(trace.class_names, counts[1:], strict=True)),
        "without_class": counts[0],
        "notices": list(trace.notices),
    }


def page_of(trace: Trace) -> str:
    """The facts as HTML."""
    facts = {key: value for key, value in facts_of(trace).items() if key not in ("name", "sha256")}
    facts["classes"] = ", ".join(f"{name} {n}" for name, n in facts["classes"].items()) or "none"
    facts["notices"] = "; ".join(facts["notices"]) or "none"
    cells = ((key, f"{v:,.6g}" if isinstance(v, float) else str(v)) for key, v in facts.items())
    return facts_html(trace.name, cells)


def frame_of(trace: Trace) -> pd.DataFrame:
    """See `Trace.to_frame`."""
    import pandas as pd  # slow to import, and only tables need it

    classes = pd.Categorical.from_codes(trace.class_code, categories=pd.Index(trace.class_names))
    lengths = {"input_length": trace.input_length, "output_length": trace.output_length}
    columns: dict[str, Any] = {"arrival_s": trace.arrival_s, **lengths, "class": classes}
    columns |= {name: getattr(trace, name) for name in ("slo_s", *MEASURED, "priority") if trace.has(name)}
    if trace.has("client_code"):
        columns["client"] = pd.Categorical.from_codes(trace.client_code, categories=pd.Index(trace.client_names))
    return pd.DataFrame(columns)


def digest_of(trace: Trace) -> str:
    """SHA-256 over the columns that the trace has, in hexadecimal."""
    names = [trace.class_names, trace.client_names] if trace.client_code.max() >= 0 else [trace.class_names]
    digest = hashlib.sha256("".join(map(json.dumps, names)).encode())
    left_out = [getattr(trace, name) for name in ABSENT if not trace.has(name)]
    for column in trace.arrays():
        if not any(column is one for one in left_out):
            digest.update(np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("<")).data)
    return digest.hexdigest()
