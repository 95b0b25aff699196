"""How far each shipped table's cost model differs from forward passes that no fit has seen."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flowsim.calibration.costs.accuracy import bias, pass_errors
from flowsim.calibration.costs.fit import fit_passes
from flowsim.calibration.costs.pass_kinds import kind_of
from flowsim.calibration.costs.provenance import PassErrors
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import TableName, load_table, shipped_tables
from flowsim.calibration.costs.table_rows import ALL_REDUCE
from flowsim.core.pass_timeline import Slice
from flowsim.io.counts import percent

ROOT = Path(__file__).parents[2]
ELSEWHERE = sorted((ROOT / "tests" / "data" / "passes").iterdir())
EVIDENCE = ROOT / "tests" / "data" / "evidence"
RECALIBRATIONS = (
    *sorted((ROOT / "tests" / "data" / "tables").iterdir()),
    *(EVIDENCE / name / "table" for name in ("h200-llama3-8b-qwen-full", "h200-qwen2.5-14b-azure-full")),
    EVIDENCE / "h200-qwen2.5-14b-azure-recorded" / "table",
)
"""Other calibrations of models that have a shipped table; that of llama3-70b has fewer sizes (`--quick`)."""
COMPOSED = (1024, 1280, 1536, 2048, 3072, 4096, 5120, 6144, 8192, 10240, 12288, 16384)
"""Tokens of the prompts at which two calibrations are compared."""
LONG, SHORT = [Slice(2048, 0)], [Slice(512, 0)]
KINDS = {
    "whole prompts, >= 1024 tokens": kind_of("none", LONG),
    "whole prompts, < 1024 tokens": kind_of("none", SHORT),
    "chunks on context": kind_of("none", [Slice(512, 512)]),
    "packed prompts": kind_of("none", SHORT * 2),
    "checked at every operator, >= 1024 tokens": kind_of("operator", LONG),
}
"""What the short tables call a kind of pass -> its name among the errors."""
DENSE = ("llama3-8b", "qwen2.5-14b", "qwen3-8b", "qwen3-32b", "llama3-70b")
GPUS = {"h200": DENSE, "h100": DENSE[:2]}


class Column(NamedTuple):
    """One set of passes with which a table is compared."""

    title: str
    longer: float | None
    errors: PassErrors


@cache
def columns(gpu: str, model: str, tp: int) -> list[Column]:
    """A table's own passes, then those measured elsewhere."""
    table = load_table(gpu, model, tp)
    cost, about = fit_passes(table), table.provenance
    own = f"same GPU, {about.stated['date']}"
    if tp > 1:
        own = f"a group of {tp} GPUs, {about.stated[ALL_REDUCE]['date']}"
    sets = [(own, table)]
    elsewhere = [OperatorTable.load(folder) for folder in ELSEWHERE]
    sets += [
        (f"another GPU, {other.provenance.stated['date']}", other)
        for other in elsewhere
        if _subject(other) == _subject(table)
    ]
    return [Column(title, bias(cost, passes), pass_errors(cost, passes)) for title, passes in sets]


def in_short() -> Iterator[str]:
    """Ranges of median errors over the dense models on one GPU: on the GPU of the table, and on others."""
    found = [columns(gpu, model, 1) for gpu, models in GPUS.items() for model in models]
    yield _row("median error of a table's passes", ["on the GPU measured", "on other GPUs of its kind"])
    yield "|---|--:|--:|"
    for title, name in KINDS.items():
        own = [of_table[0].errors[name].median for of_table in found if name in of_table[0].errors]
        others = [column.errors[name].median for of_table in found for column in of_table[1:] if name in column.errors]
        yield _row(title, [f"{percent(min(medians))} to {percent(max(medians))}" for medians in (own, others)])


def dense_models() -> Iterator[str]:
    """Median errors of the dense models on one GPU: one row per run."""
    yield _row("", ["passes", *KINDS, "*longer*"])
    yield "|---|---|" + "--:|" * (len(KINDS) + 1)
    for gpu, model in ((gpu, model) for gpu, models in GPUS.items() for model in models):
        for i, column in enumerate(columns(gpu, model, 1)):
            errors = (column.errors.get(name) for name in KINDS.values())
            medians = [percent(error.median) if error else "" for error in errors]
            yield _row("" if i else f"{gpu}: {model}", [column.title, *medians, percent(column.longer, sign="+")])


def all_tables() -> Iterator[str]:
    """One section for each shipped table that has whole passes."""
    sections = ("\n".join(_section(*name)) for name in _with_passes())
    yield "\n\n".join(sections)


def recalibrations(gpu: str, model: str, tp: int) -> list[tuple[Path, OperatorTable, list[float]]]:
    """Other calibrations of a table's model: how many times as long prompts of `COMPOSED` tokens take by them."""
    shipped = load_table(gpu, model, tp)
    cost, found = fit_passes(shipped), []
    for folder in RECALIBRATIONS:
        table = OperatorTable.load(folder)
        if _subject(table) == _subject(shipped):
            other = fit_passes(table)
            found.append((folder, table, [other.forward_s(tokens) / cost.forward_s(tokens) for tokens in COMPOSED]))
    return found


def _with_passes() -> list[TableName]:
    """The tables that hold whole passes of all their ranks."""
    names = sorted(shipped_tables())
    return [name for name in names if name.tp == 1 or load_table(*name).provenance.is_of_group]


def _section(gpu: str, model: str, tp: int) -> Iterator[str]:
    found = columns(gpu, model, tp)
    yield f"### {gpu}/{model}/tp{tp}\n"
    yield _row("passes", ["number", *(column.title for column in found)])
    yield "|---|" + "--:|" * (len(found) + 1)
    for name in sorted(found[0].errors):
        errors = [column.errors.get(name) for column in found]
        number = str(errors[0].passes) if errors[0] else ""
        yield _row(name, [number, *(f"{percent(e.median)} ({percent(e.max)})" if e else "" for e in errors)])
    yield _row("*longer*", ["", *("" if c.longer is None else percent(c.longer, sign="+") for c in found)])
    for folder, table, times in recalibrations(gpu, model, tp):
        where = f"(`{folder.relative_to(ROOT)}`, {table.provenance.stated['date']})"
        sizes = f"prompts of {COMPOSED[0]:,} to {COMPOSED[-1]:,} tokens"
        spread = f"{np.median(times):.3f} times as long (median; {min(times):.3f} to {max(times):.3f})"
        text = f"By the operators of another calibration {where}, {sizes} take {spread}."
        yield "\n" + textwrap.fill(text, 120, break_on_hyphens=False, break_long_words=False)


def _subject(table: OperatorTable) -> tuple[str | None, str | None, int | None]:
    return table.provenance.gpu, table.provenance.model, table.provenance.tp


def _row(first: str, cells: Sequence[str]) -> str:
    return f"| {first} | {' | '.join(cells)} |"
