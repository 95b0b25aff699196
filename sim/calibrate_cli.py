"""The command line of calibration: `flowsim calibrate`, and what can be done with operator tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flowsim.errors import InputError

if TYPE_CHECKING:
    from flowsim.calibration.table import OperatorTable

TABLE_HELP = "TABLE is a folder, or the name of a table there is, as in h200/llama3-8b/tp1."


@click.group(invoke_without_command=True)
@click.option(
    "--model",
    default="llama3-8b",
    show_default=True,
    help="A shipped model, a YAML file of its shape, or a Hugging Face config.json.",
)
@click.option("--gpu", metavar="NAME", help="The table's name for this GPU.  [default: from the GPU's own name]")
@click.option("--tp", type=int, default=1, show_default=True, help="Measure one rank of so many, without all-reduces.")
@click.option("--quick", is_flag=True, help="A coarser table, in about a minute.")
@click.option("--device", default="cuda", show_default=True, help="cuda, or cpu (for trying the command out).")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the weights and of the order of sizes.")
@click.option("--out", metavar="DIR", help="Folder for the table; a table there is replaced.  [required]")
@click.option("--report", is_flag=True, help="Write DIR.html too: curves, residuals, errors.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
@click.pass_context
def calibrate(
    context: click.Context, /, model: str, gpu: str | None, tp: int, quick: bool, device: str,
    seed: int, out: str | None, report: bool, quiet: bool,
) -> None:  # fmt: skip
    """Measure a model's operators on the GPU of this machine, and write the table that runs are costed with.

    Needs torch (pip install 'flowsim[calibrate]') but no weights: timing does not depend on them. Takes some minutes;
    what is finished is kept in DIR.journal, so an interrupted calibration goes on where it was.

    Under tensor parallelism measure a rank (--tp 2), then complete its table with all-reduces.

    \b
    Examples:
      flowsim calibrate --model llama3-8b --out my-table
      flowsim run example --cost my-table
      flowsim calibrate --tp 2 --out my-tp2
      flowsim calibrate all-reduce my-tp2
    """
    if context.invoked_subcommand:
        return
    from flowsim.calibration.table import check_replaceable
    from flowsim.files import check_writable
    from flowsim.progress import bar

    if out is None:
        raise InputError("--out is missing, allowed is a folder for the table")
    check_writable(out)
    check_writable(Path(out).parent)
    check_replaceable(out)
    from flowsim.calibration.measure import calibrate as measure
    from flowsim.calibration.models import load_model

    journal = Path(f"{Path(out)}.journal")
    spec = load_model(model)
    with bar("measuring", quiet=quiet) as progress:
        table = measure(spec, gpu, tp=tp, quick=quick, device=device, seed=seed, progress=progress, journal=journal)
    table.save(out)
    journal.unlink(missing_ok=True)
    if report:
        _write_page(table, None, f"{out}.html")
    if not quiet:
        _errors(table, table)
        use = "use it with --cost" if tp == 1 else "complete it with flowsim calibrate all-reduce"
        click.echo(f"saved the table in {out}; {use} {out}")


@calibrate.command(
    "all-reduce",
    help="Complete the TABLE of a tensor-parallel rank: measure the all-reduces in its layers and whole passes of all "
    "its ranks, one on each of as many GPUs of this machine, or take NVIDIA's public all-reduces (--public; needs pip "
    f"install 'flowsim[import]').\n\n{TABLE_HELP}\n\n\b\nExamples:\n"
    "  flowsim calibrate all-reduce my-tp2\n"
    "  flowsim calibrate all-reduce h200/llama3-70b/tp4 --public h200_sxm",
)
@click.argument("table")
@click.option("--public", "system", metavar="SYSTEM", help="System in the public measurements, as in h200_sxm.")
@click.option("--device", default="cuda", show_default=True, help="cuda, or cpu (for trying the command out).")
@click.option("--out", metavar="DIR", help="Folder for the whole table.  [default: TABLE, or where --tp finds it]")
def all_reduce(table: str, system: str | None, device: str, out: str | None) -> None:
    """Complete the table of a tensor-parallel rank."""
    from flowsim.calibration.collective import join, measure_group
    from flowsim.calibration.importer import public_all_reduce
    from flowsim.calibration.public import package_source
    from flowsim.calibration.table import check_replaceable
    from flowsim.calibration.tables import table_folder
    from flowsim.files import check_writable

    rank = _open(table)
    about = rank.provenance
    named = not (out or Path(table).is_dir())
    folder = table_folder(about["gpu"], about["model"], about["tp"]) if named else Path(out or table)
    check_writable(folder)
    check_replaceable(folder)
    group = public_all_reduce(package_source(system), rank) if system else measure_group(rank, device=device)
    whole = join(rank, group)
    whole.save(folder)
    _errors(whole, whole)
    use = f"--model {about['model']} --tp {about['tp']}" if named else f"--cost {folder}"
    click.echo(f"saved the table in {folder}; use it with {use}")


@calibrate.command(
    help="Say whether TABLE holds on the GPU of this machine: measure whole passes of its model (about a minute), none "
    "of its operators, and print how far its cost model is off them.\n\nThe passes run through as many layers as the "
    "table's, with its attention kernels; where one does not work here, a note says so. With --out they are kept, for "
    f"flowsim calibrate compare TABLE DIR. Needs torch (pip install 'flowsim[calibrate]').\n\n{TABLE_HELP}\n\n\b\n"
    "Examples:\n"
    "  flowsim calibrate verify h200/llama3-8b/tp1\n"
    "  flowsim calibrate verify my-table --quick --out my-passes\n"
    "  flowsim calibrate compare my-table my-passes"
)
@click.argument("table")
@click.option("--out", metavar="DIR", help="Folder to keep the passes in; passes kept there before are replaced.")
@click.option("--quick", is_flag=True, help="Fewer passes, in under half a minute.")
@click.option("--device", default="cuda", show_default=True, help="cuda, or cpu (for trying the command out).")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the weights and of the order of passes.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing; for --out.")
def verify(table: str, out: str | None, quick: bool, device: str, seed: int, quiet: bool) -> None:
    """Hold a table against passes measured here."""
    from flowsim.calibration.passes import measure_passes
    from flowsim.files import check_writable
    from flowsim.progress import bar

    if quiet and out is None:
        raise InputError("--quiet without --out leaves nothing, allowed is --quiet with --out DIR")
    claimed = _open(table)
    if out is not None:
        check_writable(out)
        check_writable(Path(out).parent)
        _check_passes(out)
    with bar("measuring", quiet=quiet) as progress:
        measured = measure_passes(claimed, device=device, quick=quick, seed=seed, progress=progress)
    if out is not None:
        measured.save(out)
    if not quiet:
        _beside_its_speed(claimed, measured)
        for note in measured.provenance["notes"]:
            click.echo(note)
        if out is not None:
            click.echo(f"saved the passes in {out}; flowsim calibrate compare {table} {out} prints this again")


@calibrate.command(
    help=f"Write one HTML page about TABLE: curves, residuals, errors, provenance.\n\n{TABLE_HELP}\n\n\b\nExample:\n"
    "  flowsim calibrate report h200/llama3-8b/tp1"
)
@click.argument("table")
@click.option("--beside", metavar="TABLE", help="Another table to hold it against, such as an imported one.")
@click.option("--out", metavar="FILE", default="calibration.html", show_default=True, help="The page.")
def report(table: str, beside: str | None, out: str) -> None:
    """Write a page about a table."""
    _write_page(_open(table), (beside and _open(beside)) or None, out)
    click.echo(f"saved the page in {out}")


@calibrate.command(
    help="Print the ratio of FIRST's device times to SECOND's, by operator and size, and how far FIRST's cost model "
    f"is off the whole passes in SECOND.\n\n{TABLE_HELP.replace('TABLE', 'Either')} Left out are sizes that only "
    "one has, and what an imported table did not measure. SECOND may be the passes that flowsim calibrate verify "
    "kept.\n\n\b\nExample:\n"
    "  flowsim calibrate compare h200/llama3-8b/tp1 my-table"
)
@click.argument("first")
@click.argument("second")
def compare(first: str, second: str) -> None:
    """Hold two tables against each other."""
    from flowsim.calibration.beside import beside, titles
    from flowsim.calibration.fit import fit_passes
    from flowsim.report import plain_table, show

    ours, theirs = _open(first), _open(second, passes_alone=True)
    _check_comparable(ours, theirs, second)
    if theirs.passes:
        fit_passes(ours)  # before anything is printed
    table = plain_table("operator", "sizes", *titles(), "second measured by")
    for ratios in beside(ours, theirs):
        medians = ("" if ratio is None else f"{ratio:.3f}" for ratio in ratios.medians())
        table.add_row(ratios.operator, str(len(ratios.points)), *medians, ratios.backend)
    if table.row_count or not theirs.passes:
        show(table)
    if theirs.passes:
        _beside_its_speed(ours, theirs)


@calibrate.command("import")
@click.argument("source")
@click.option("--system", metavar="NAME", help="System in the package, as in a100_sxm, h100_sxm, b200_sxm.")
@click.option("--model", default="llama3-8b", show_default=True, help="A shipped model, or a file of its shape.")
@click.option("--tp", type=int, default=1, show_default=True, help="Tensor-parallel degree.")
@click.option("--framework", default="vllm", show_default=True, help="Whose kernels: vllm, sglang or trtllm.")
@click.option("--out", metavar="DIR", help="Folder for the table.  [default: where --gpu SYSTEM finds it]")
def import_(source: str, system: str | None, model: str, tp: int, framework: str, out: str | None) -> None:
    """Build a table from public measurements: SOURCE is aiconfigurator, or a folder of CSV files like its own.

    Needs the package aiconfigurator-core (pip install 'flowsim[import]'). What it lacks is filled in, and the table
    says how of every row: shapes by the arithmetic rate around them, norms and the like by bandwidth, chunks on
    context by the shape of our own nearest table, times of the host by copying that one's.

    \b
    Example:
      flowsim calibrate import aiconfigurator --system a100_sxm --model llama3-8b
      flowsim run example --gpu a100_sxm
    """
    from flowsim.calibration.importer import import_table, nearest_own
    from flowsim.calibration.models import load_model
    from flowsim.calibration.public import folder_source, package_source
    from flowsim.calibration.tables import table_folder

    if source == "aiconfigurator":
        if system is None:
            raise InputError("--system is missing, allowed is a system of the package, as in a100_sxm")
        found = package_source(system, framework)
    else:
        found = folder_source(source)
    spec = load_model(model)
    table = import_table(found, spec, nearest_own(spec), tp)
    folder = Path(out) if out else table_folder(found.system, spec.name, tp)
    table.save(folder)
    for operator, kinds in table.provenance["cells"].items():
        click.echo(f"{operator:12} {', '.join(f'{count} {kind}' for kind, count in kinds.items())}")
    use = f"--cost {folder}" if out else f"--gpu {found.system} --model {spec.name}" + (f" --tp {tp}" if tp > 1 else "")
    click.echo(f"saved the table in {folder}; use it with {use}")


def _open(where: str, *, passes_alone: bool = False) -> OperatorTable:
    """The table in this folder, or of this name. InputError: it has no operators, unless `passes_alone` will do."""
    from flowsim.calibration.table import OperatorTable
    from flowsim.calibration.tables import load_table

    gpu, _, rest = where.partition("/")
    model, _, tp = rest.partition("/tp")
    if not Path(where).is_dir() and tp.isdecimal():
        return load_table(gpu, model, int(tp))
    table = OperatorTable.load(where)
    if not (table.operators or passes_alone):
        raise InputError(f"{where}: found a table of passes alone; allowed: one with operators")
    return table


def _check_passes(out: str) -> None:
    """InputError unless passes may be saved as this folder: it is new, or holds such."""
    from flowsim.calibration.table import OperatorTable, check_replaceable

    check_replaceable(out)
    if Path(out).exists() and "verifies" not in OperatorTable.load(out).provenance:
        raise InputError(f"{out}: holds a table with operators; allowed: a new folder, or one that verify made")


def _write_page(table: OperatorTable, beside: OperatorTable | None, file: str) -> None:
    from flowsim.calibration.page import calibration_page
    from flowsim.files import writing

    path = Path(file)
    with writing(path.parent) as stage:
        (stage / path.name).write_text(calibration_page(table, beside), encoding="utf-8")


def _check_comparable(ours: OperatorTable, theirs: OperatorTable, where: str) -> None:
    """InputError unless both are of the same model and degree, and passes, if any, of as many layers."""
    if not theirs.operators and not theirs.passes:
        raise InputError(f"{where}: found neither operators nor passes; allowed: a table, or what verify kept")
    for key in ("model", "model_spec", "tp", "pass_layers", "passes_of"):
        found, allowed = (table.provenance.get(key) for table in (theirs, ours))
        if found != allowed and (theirs.passes or key in ("model", "tp")) and None not in (found, allowed):
            found, allowed = ("another shape", "the same") if key == "model_spec" else (found, allowed)
            raise InputError(f"{where}, {key}: found {found}; allowed: that of the first, {allowed}")


def _beside_its_speed(claimed: OperatorTable, measured: OperatorTable) -> None:
    """How far the claimed table is off passes, and how far beyond the difference of the two GPUs, if that shows."""
    from flowsim.calibration.errors import LONG_PROMPT, bias, pass_errors
    from flowsim.calibration.fit import fit_passes
    from flowsim.report import errors_report, show

    cost = fit_passes(claimed)
    longer = bias(cost, measured)
    if longer is None:
        show(errors_report(pass_errors(cost, measured)))
        return
    show(errors_report(pass_errors(cost, measured), pass_errors(cost, measured, longer)))
    word, ids = "longer" if longer >= 0 else "shorter", {of.provenance.get("gpu_id") for of in (claimed, measured)}
    where = "there" if None in ids else "on the same GPU" if len(ids) == 1 else "on another GPU"
    click.echo(f"passes take {abs(longer):.1%} {word} {where} than the table says (median; {LONG_PROMPT})")


def _errors(fitted: OperatorTable, measured: OperatorTable) -> None:
    """How far the cost model of the first is off the passes of the second, if it has any."""
    from flowsim.calibration.errors import pass_errors
    from flowsim.calibration.fit import fit_passes
    from flowsim.report import errors_report, show

    if measured.passes:
        show(errors_report(pass_errors(fit_passes(fitted), measured)))
