"""The tables that the commands of `flowsim calibrate` open, compare and save."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowsim.errors import InputError
from flowsim.io.counts import percent
from flowsim.io.signals import Terminated

if TYPE_CHECKING:
    from flowsim.calibration.costs.provenance import PassErrors
    from flowsim.calibration.costs.table import OperatorTable


def open_table(where: str, *, passes_only: bool = False) -> OperatorTable:
    """The table in this folder, or of this name. InputError: it has no operators, unless `passes_only` will do."""
    from flowsim.calibration.costs.table import OperatorTable
    from flowsim.calibration.costs.table_catalogue import load_table

    if not where:
        raise InputError("TABLE", "is empty", expected="a folder or a name, as in h200/llama3-8b/tp1")
    gpu, _, rest = where.partition("/")
    model, _, tp = rest.partition("/tp")
    if not Path(where).is_dir() and tp.isdecimal():
        return load_table(gpu, model, int(tp))
    table = OperatorTable.load(where)
    if not (table.operators or passes_only):
        raise InputError(where, "has no operators, only passes")
    return table


def check_fittable(table: OperatorTable, where: str) -> None:
    """Raise `InputError`, which begins with `where`, unless a cost model can be fitted to the table."""
    from flowsim.calibration.costs.fit import fit_passes

    try:
        fit_passes(table)
    except InputError as error:
        raise error.within(where) from None


def check_table(out: str | Path) -> None:
    """Raise `InputError` unless a table may be saved as this folder: it is new, empty, or holds one."""
    from flowsim.calibration.costs.table import check_replaceable

    check_replaceable(out)


def check_passes(out: str | Path) -> None:
    """Raise `InputError` unless passes may be saved as this folder: it is new, or holds passes."""
    from flowsim.calibration.costs.table import OperatorTable

    check_table(out)
    if Path(out).exists() and OperatorTable.load(out).provenance.verifies is None:
        raise InputError(str(out), "holds a table with operators", expected="a new folder, or one that verify wrote")


def folder_for(gpu: str, model: str, tp: int, out: str | None) -> Path:
    """Where a table that was not measured is saved: in `out` or, without one, where its names find it.

    InputError: a shipped table has these names, and would no longer be found.
    """
    from flowsim.calibration.costs.table_catalogue import TableName, shipped_tables, table_folder

    if out:
        return Path(out)
    if TableName(gpu, model, tp) in shipped_tables():
        problem = f"is missing, and {gpu}/{model}/tp{tp} is a shipped table, which one of that name would hide"
        raise InputError("--out", problem, expected="--out DIR, or a model's file or folder of another name")
    return table_folder(gpu, model, tp)


@contextmanager
def saving(folder: str | Path, check: Callable[[str | Path], None] = check_table) -> Iterator[None]:
    """Lock a folder in which a table will be saved.

    Args:
        folder: new or existing.
        check: raises `InputError` if what the folder holds must not be replaced.

    Raises:
        InputError: as `check` raises it; the folder cannot be written, or another command is using it.
    """
    from flowsim.io.folders import check_writable, followed
    from flowsim.io.locks import locked

    check_writable(folder)
    check_writable(followed(folder).parent)
    check(folder)
    with locked(folder):
        yield


@contextmanager
def kept_if_interrupted(journal: Path, quiet: bool) -> Iterator[None]:
    """Say how to continue when the block is interrupted."""
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        if not quiet and journal.exists() and journal.read_bytes().count(b"\n") > 1:
            click.echo(f"finished measurements are kept in {journal}; run the same command again to continue", err=True)
        raise


def check_same_model(first: OperatorTable, second: OperatorTable, where: str, *, passes: bool = False) -> None:
    """Raise `InputError` unless both tables are of the same model and degree.

    What only one of them states is not compared.

    Args:
        first: a table.
        second: another.
        where: where the second is, for the error.
        passes: whether their passes must also be of as many layers and ranks.
    """
    expected = _compared(first, passes)
    for key, found in _compared(second, passes).items():
        if found != expected.get(key) and None not in (found, expected.get(key)):
            raise InputError(f"{where}: {key}", found=found, expected=f"{expected[key]!r}, as in the first table")


def _compared(table: OperatorTable, passes: bool) -> dict[str, Any]:
    """What is compared of two tables: of the model's shape each field, including defaults."""
    from msgspec.structs import asdict

    about = table.provenance
    stated: dict[str, Any] = {"model": about.model, "tp": about.tp}
    if passes:
        stated |= {"pass_layers": about.pass_layers, "passes_of": about.passes_of}
    shape = asdict(about.model_spec) if about.model_spec else {}
    return stated | {f"model_spec.{name}": value for name, value in shape.items()}


def print_comparison(claimed: OperatorTable, measured: OperatorTable) -> None:
    """Print by how much the claimed table differs from passes, as measured and corrected for the speed of this GPU."""
    from flowsim.calibration.costs.accuracy import bias, pass_errors
    from flowsim.calibration.costs.fit import fit_passes
    from flowsim.calibration.costs.pass_kinds import LONG_PROMPT

    cost = fit_passes(claimed)
    longer = bias(cost, measured)
    if longer is None:
        _show_errors(pass_errors(cost, measured))
        return
    _show_errors(pass_errors(cost, measured), pass_errors(cost, measured, longer))
    word, about = "longer" if longer >= 0 else "shorter", (claimed.provenance, measured.provenance)
    ids = {None if provenance.passes_of else provenance.gpu_id for provenance in about}  # a group has several GPUs
    where = "there" if None in ids else "on the same GPU" if len(ids) == 1 else "on another GPU"
    of_these = f"median; {LONG_PROMPT}, that wait for the device alone"
    click.echo(f"passes take {percent(abs(longer))} {word} {where} than the table says ({of_these})")


def print_errors(table: OperatorTable) -> None:
    """Print by how much the cost model of a table differs from its passes, if it has any."""
    from flowsim.calibration.costs.accuracy import pass_errors
    from flowsim.calibration.costs.fit import fit_passes

    if table.passes:
        _show_errors(pass_errors(fit_passes(table), table))


def write_page(table: OperatorTable, other: OperatorTable | None, file: str) -> None:
    """Write the page about a table, compared with another."""
    from flowsim.calibration.published.report import calibration_page
    from flowsim.io.folders import writing

    path = Path(file)
    with writing(path.parent) as stage:
        (stage / path.name).write_text(calibration_page(table, other), encoding="utf-8")


def _show_errors(errors: PassErrors, corrected: PassErrors | None = None) -> None:
    from msgspec import to_builtins

    from flowsim.rendering.run_text import errors_report
    from flowsim.rendering.screen import show

    show(errors_report(to_builtins(errors), to_builtins(corrected)))
