"""The tables that the commands of `flowsim calibrate` open, hold against each other and save."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowsim.errors import InputError

if TYPE_CHECKING:
    from flowsim.calibration.costs.table import OperatorTable


def open_table(where: str, *, passes_alone: bool = False) -> OperatorTable:
    """The table in this folder, or of this name. InputError: it has no operators, unless `passes_alone` will do."""
    from flowsim.calibration.costs.catalogue import load_table
    from flowsim.calibration.costs.table import OperatorTable

    if not where:
        raise InputError("TABLE is empty, allowed is a folder or a name, as in h200/llama3-8b/tp1")
    gpu, _, rest = where.partition("/")
    model, _, tp = rest.partition("/tp")
    if not Path(where).is_dir() and tp.isdecimal():
        return load_table(gpu, model, int(tp))
    table = OperatorTable.load(where)
    if not (table.operators or passes_alone):
        raise InputError(f"{where}: found a table of passes alone; allowed: one with operators")
    return table


def check_model(table: OperatorTable, where: str) -> None:
    """InputError, which begins with where the table is, unless it makes a cost model."""
    from flowsim.calibration.costs.fit import fit_passes

    try:
        fit_passes(table)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def check_table(out: str | Path) -> None:
    """InputError unless a table may be saved as this folder: it is new, empty, or holds one."""
    from flowsim.calibration.costs.table import check_replaceable

    check_replaceable(out)


def check_passes(out: str | Path) -> None:
    """InputError unless passes may be saved as this folder: it is new, or holds such."""
    from flowsim.calibration.costs.table import OperatorTable

    check_table(out)
    if Path(out).exists() and "verifies" not in OperatorTable.load(out).provenance:
        raise InputError(f"{out}: holds a table with operators; allowed: a new folder, or one that verify made")


@contextmanager
def saving(folder: str | Path, check: Callable[[str | Path], None] = check_table) -> Iterator[None]:
    """Have to oneself a folder that a table may be saved as; InputError: none may, or another command has it.

    `check` raises it of what is there already.
    """
    from flowsim.io.folders import check_writable, followed
    from flowsim.io.locks import locked

    check_writable(folder)
    check_writable(followed(folder).parent)
    check(folder)
    with locked(folder):
        yield


def check_alike(first: OperatorTable, second: OperatorTable, where: str, *, passes: bool = False) -> None:
    """InputError unless both are of the same model and degree and, with `passes`, those are of as many layers.

    `where` is the second; what only one of them states is not compared.
    """
    allowed = _compared(first, "the first", passes)
    for key, found in _compared(second, where, passes).items():
        if found != allowed.get(key) and None not in (found, allowed.get(key)):
            raise InputError(f"{where}, {key}: found {found}; allowed: that of the first, {allowed[key]}")


def _compared(table: OperatorTable, where: str, passes: bool) -> dict[str, Any]:
    """What is compared of two tables; of the model's shape each field, the defaults filled in."""
    from flowsim.calibration.costs.models import spec_of

    keys = ("model", "tp", *(("pass_layers", "passes_of") if passes else ()))
    stated, spec = {key: table.provenance.get(key) for key in keys}, table.provenance.get("model_spec")
    shape = {} if spec is None else asdict(spec_of(spec, f"{where}, model_spec"))
    return stated | {f"model_spec, {name}": value for name, value in shape.items()}


def print_beside_its_speed(claimed: OperatorTable, measured: OperatorTable) -> None:
    """How far the claimed table is off passes, and how far beyond the difference of the two GPUs, if that shows."""
    from flowsim.calibration.costs.accuracy import LONG_PROMPT, bias, pass_errors
    from flowsim.calibration.costs.fit import fit_passes
    from flowsim.show.screen import show
    from flowsim.show.text import errors_report

    cost = fit_passes(claimed)
    longer = bias(cost, measured)
    if longer is None:
        show(errors_report(pass_errors(cost, measured)))
        return
    show(errors_report(pass_errors(cost, measured), pass_errors(cost, measured, longer)))
    word, about = "longer" if longer >= 0 else "shorter", (claimed.provenance, measured.provenance)
    ids = {None if "passes_of" in of else of.get("gpu_id") for of in about}  # a group's GPUs are several
    where = "there" if None in ids else "on the same GPU" if len(ids) == 1 else "on another GPU"
    of_these = f"median; {LONG_PROMPT}, that wait for the device alone"
    click.echo(f"passes take {abs(longer):.1%} {word} {where} than the table says ({of_these})")


def print_errors(table: OperatorTable) -> None:
    """How far the cost model of a table is off its passes, if it has any."""
    from flowsim.calibration.costs.accuracy import pass_errors
    from flowsim.calibration.costs.fit import fit_passes
    from flowsim.show.screen import show
    from flowsim.show.text import errors_report

    if table.passes:
        show(errors_report(pass_errors(fit_passes(table), table)))


def write_page(table: OperatorTable, beside: OperatorTable | None, file: str) -> None:
    """Write the page about a table, held against another."""
    from flowsim.calibration.public.report import calibration_page
    from flowsim.io.folders import writing

    path = Path(file)
    with writing(path.parent) as stage:
        (stage / path.name).write_text(calibration_page(table, beside), encoding="utf-8")
