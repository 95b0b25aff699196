"""How far each shipped table's cost model is off whole passes that no fit ever saw: `docs/accuracy.md` and the README.

`python tests/accuracy.py` writes the former anew.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flowsim.calibration.costs.accuracy import Errors, bias, pass_errors
from flowsim.calibration.costs.catalogue import TableName, load_table, shipped_tables
from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.fit import fit_passes
from flowsim.calibration.costs.table import ALL_REDUCE, OperatorTable
from flowsim.core.timeline import Slice
from support.places import ROOT

PAGE = ROOT / "docs" / "accuracy.md"
ELSEWHERE = sorted((ROOT / "tests" / "data" / "passes").iterdir())
EVIDENCE = ROOT / "tests" / "data" / "evidence"
AGAIN = (
    *sorted((ROOT / "tests" / "data" / "tables").iterdir()),
    *(EVIDENCE / name / "table" for name in ("h200-llama3-8b-qwen-full", "h200-qwen2.5-14b-azure-full")),
    EVIDENCE / "h200-qwen2.5-14b-azure-recorded" / "table",
)
"""Other calibrations of models that a table is shipped of; that of llama3-70b has fewer sizes (`--quick`)."""
COMPOSED = (1024, 1280, 1536, 2048, 3072, 4096, 5120, 6144, 8192, 10240, 12288, 16384)
"""Tokens of the prompts at which two calibrations are compared."""
IN_SHORT = (
    "whole prompt, from 1024 tokens",
    "whole prompt, below 1024 tokens",
    "chunk on context",
    "packed prompts",
    "checked at every operator, from 1024 tokens",
)
DENSE = ("llama3-8b", "qwen2.5-14b", "qwen3-8b", "qwen3-32b", "llama3-70b")
GPUS = {"h200": DENSE, "h100": DENSE[:2]}
HEAD = """# How far the cost models are off

Whole forwards, measured at sizes and in batches that no fit ever sees, against what the cost model of each shipped
table says of them: by kind of forward their number, then the median and, in brackets, the largest error. The first
columns are of the GPU and the run in which the table was measured; *on another GPU* is a run of its own, another day or
hour, on another GPU of that kind (`flowsim calibrate verify`, kept in `tests/data/passes`; from 2026-11-28 on with
its id).
*Longer* is how much longer whole prompts from 1024 tokens that wait for the device alone take there than the table says
(median). Under some tables stands what another calibration says of such prompts (that of llama3-70b with fewer sizes,
`--quick`).

Forwards of up to some 300 to 500 tokens, and checked ones of some more, wait for the host's launches, and so do those
of up to some thousand tokens in mixtures of experts; what launches take changes by a factor of two on shared machines.
Of a forward that was timed twice for it the lesser time counts. A *graph* is a forward recorded beforehand, launched at
once or, where it is checked, segment by segment: how long the recordings take is in the table itself, so that what is
held to account there is composing, launching and checking them. A curve never falls, by design: where more tokens are
really faster (`gate_up_proj` of llama3-8b takes 265 us at 448 tokens and 154 at 449) it runs between (172).

Up to 2026-11-22 a chunk's attention went over all of its context at once, from 2026-11-24 on over the context's full
tiles of 128 tokens and, with the chunk, over what is left: before, attention took some 7 % longer on contexts that are
no multiple of 128, which no table holds. Between two measured sizes of a chunk its attention takes whole waves of tiles
(`calibration/waves.py`); that these GPUs have 132 multiprocessors was added to tables of up to 2026-11-28. Recorded
forwards followed one another in older runs, and follow a long one in later ones, as the tables of llama3 and qwen2.5 on
one GPU and that of qwen3-32b state them; where the two differ, runs of the older kind are left out. Up to 2026-11-24 a
size was run for 0.1 s before it was timed, loading its kernels included; from 2026-11-27 on for 0.25 s once they are
loaded, until a GPU's power limit no longer overshoots.

*This page is written by `python tests/accuracy.py`.*"""


class Column(NamedTuple):
    """One set of passes that a table is held against."""

    title: str
    longer: float | None
    errors: Errors


def columns(gpu: str, model: str, tp: int) -> list[Column]:
    """A table's own passes, then those measured elsewhere."""
    table = load_table(gpu, model, tp)
    cost, about = fit_passes(table), table.provenance
    own = f"where it was measured, {about['date']}"
    if tp > 1:
        own = f"a real group of {tp} GPUs, {about[ALL_REDUCE]['date']}"
    sets = [(own, table)]
    elsewhere = [OperatorTable.load(folder) for folder in ELSEWHERE]
    sets += [
        (f"on another GPU, {other.provenance['date']}", other)
        for other in elsewhere
        if all(other.provenance[key] == about[key] for key in ("gpu", "model", "tp"))
    ]
    return [Column(title, bias(cost, passes), pass_errors(cost, passes)) for title, passes in sets]


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(line for name in _whole() for line in _section(*name))]) + "\n"


def summary_rows() -> list[str]:
    """The README's table: median errors of the dense models on one GPU, a row a run."""
    rows = [_row("", ["", *IN_SHORT, "*longer*"]), "|---|---|" + "--:|" * (len(IN_SHORT) + 1)]
    for gpu, model in ((gpu, model) for gpu, models in GPUS.items() for model in models):
        for i, column in enumerate(columns(gpu, model, 1)):
            medians = [f"{column.errors[kind]['median']:.1%}" if kind in column.errors else "" for kind in IN_SHORT]
            rows.append(_row("" if i else f"{gpu}: {model}", [column.title, *medians, f"{column.longer:+.1%}"]))
    return rows


def again(gpu: str, model: str, tp: int) -> list[tuple[Path, OperatorTable, list[float]]]:
    """Other calibrations of a table's model: how many times as long prompts of `COMPOSED` tokens take by them."""
    shipped = load_table(gpu, model, tp)
    cost, found = fit_passes(shipped), []
    for folder in AGAIN:
        table = OperatorTable.load(folder)
        if all(table.provenance[key] == shipped.provenance[key] for key in ("gpu", "model", "tp")):
            other = fit_passes(table)
            found.append((folder, table, [_alone_s(other, tokens) / _alone_s(cost, tokens) for tokens in COMPOSED]))
    return found


def _alone_s(cost: CostModel, tokens: int) -> float:
    return cost.forward([Slice(tokens, 0)], "none").duration_s


def _whole() -> list[TableName]:
    """The tables that hold whole passes of all that they are of."""
    names = sorted(shipped_tables())
    return [name for name in names if name.tp == 1 or load_table(*name).provenance.get("passes_of") == "group"]


def _section(gpu: str, model: str, tp: int) -> Iterator[str]:
    found = columns(gpu, model, tp)
    yield f"\n## {gpu}/{model}/tp{tp}\n"
    yield _row("passes", ["number", *(column.title for column in found)])
    yield "|---|" + "--:|" * (len(found) + 1)
    for kind in sorted(found[0].errors):
        errors = [column.errors.get(kind) for column in found]
        number = str(errors[0]["passes"]) if errors[0] else ""
        yield _row(kind, [number, *(f"{e['median']:.1%} ({e['max']:.1%})" if e else "" for e in errors)])
    yield _row("*longer*", ["", *("" if c.longer is None else f"{c.longer:+.1%}" for c in found)])
    for folder, table, times in again(gpu, model, tp):
        where = f"(`{folder.relative_to(ROOT)}`, of {table.provenance['date']})"
        sizes = f"prompts of {COMPOSED[0]:,} to {COMPOSED[-1]:,} tokens"
        spread = f"{np.median(times):.3f} times as long (median; {min(times):.3f} to {max(times):.3f})"
        text = f"Composed of the operators of another calibration {where} {sizes} take {spread}."
        yield "\n" + textwrap.fill(text, 120, break_on_hyphens=False, break_long_words=False)


def _row(first: str, cells: Sequence[str]) -> str:
    return f"| {first} | {' | '.join(cell.replace('%', ' %') for cell in cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
