"""`flowsim calibrate`: measure operator tables, complete, verify, compare and import them."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from shlex import quote
from typing import Any

import click

from flowsim.cli.calibrate.model import model as model_command
from flowsim.cli.calibrate.server import server
from flowsim.cli.calibrate.tables import (
    check_fittable,
    check_passes,
    check_same_model,
    folder_for,
    kept_if_interrupted,
    open_table,
    print_comparison,
    print_errors,
    saving,
    write_page,
)
from flowsim.cli.click_options import with_options
from flowsim.cli.command import Group, typed
from flowsim.errors import InputError

TABLE_HELP = "TABLE is a folder, or the name of a table, as in h200/llama3-8b/tp1."


def _named(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """The value of an option. InputError if it is empty."""
    if value == "":
        raise InputError(parameter.opts[0], "is empty", expected="a name")
    return value


@click.group(cls=Group, invoke_without_command=True)
@with_options(
    "model", model="A shipped model, a YAML file with its shape, or a Hugging Face config.json (or its folder)."
)
@click.option("--gpu", metavar="NAME", help="The table's name for this GPU.  [default: from the GPU's own name]")
@with_options("tp", tp="Measure one rank of this many, without all-reduces.")
@click.option("--quick", is_flag=True, help="A coarser table, in about a minute.")
@click.option("--device", default="cuda", show_default=True, help="cuda, or cpu to try the command out.")
@with_options("seed", seed="Seed of the weights and of the order of sizes.")
@click.option(
    "--out", callback=_named, metavar="DIR", help="Folder for the table; replaces a table that is there.  [required]"
)
@click.option("--report", is_flag=True, help="Write DIR.html too: curves, residuals, errors.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
@click.pass_context
def calibrate(
    context: click.Context, /, model: str, gpu: str | None, tp: int, quick: bool, device: str,
    seed: int, out: str | None, report: bool, quiet: bool,
) -> None:  # fmt: skip
    """Measure a model's operators on the GPU of this machine, and write the table that gives runs their costs.

    Needs torch (pip install 'flowsim[calibrate]') but no weights: timing does not depend on them. Takes some minutes;
    finished measurements are kept in DIR.journal, from which an interrupted calibration continues.

    For tensor parallelism measure a rank (--tp 2), then complete its table with all-reduces.

    \b
    Examples:
      flowsim calibrate --model llama3-8b --out my-table
      flowsim run example --cost my-table
      flowsim calibrate --tp 2 --out my-tp2
      flowsim calibrate all-reduce my-tp2
    """
    if context.invoked_subcommand:
        _check_place(context, context.invoked_subcommand)
        return
    from flowsim.io.folders import check_writable
    from flowsim.io.progress import bar

    if out is None:
        raise InputError("--out", "is missing", expected="a folder for the table")
    with saving(out):
        check_writable(Path(out).parent)  # for the journal
        from flowsim.calibration.costs.models import load_model
        from flowsim.calibration.measure.calibrate import calibrate as measure

        journal, spec = Path(f"{Path(out)}.journal"), load_model(model)
        say = None if quiet else lambda line: click.echo(line, err=True)
        options: dict[str, Any] = {"tp": tp, "quick": quick, "device": device, "seed": seed, "say": say}
        with kept_if_interrupted(journal, quiet), bar("measuring", quiet=quiet) as progress:
            table = measure(spec, gpu, **options, progress=progress, journal=journal)
        table.save(out)
        journal.unlink(missing_ok=True)
    if report:
        write_page(table, None, f"{Path(out)}.html")
    if not quiet:
        print_errors(table)
        use = "use it with --cost" if tp == 1 else "complete it with flowsim calibrate all-reduce"
        click.echo(f"saved the table in {out}; {use} {quote(out)}")


def _check_place(context: click.Context, name: str) -> None:
    """Raise `InputError` if options stand before the command of this name, where they have no effect."""
    command = calibrate.commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    for option in typed(context):
        problem = f"must follow {name}" if option in known else f"is not an option of {name}"
        raise InputError(option, problem)


@calibrate.command(
    "all-reduce",
    help="Complete the TABLE of a tensor-parallel rank: measure the all-reduces in its layers and whole passes of all "
    "ranks, one on each GPU of this machine, or take NVIDIA's public all-reduces (--public; needs pip "
    f"install 'flowsim[import]').\n\n{TABLE_HELP}\n\n\b\nExamples:\n"
    "  flowsim calibrate all-reduce my-tp2\n"
    "  flowsim calibrate all-reduce h200/llama3-70b/tp4 --public h200_sxm",
)
@click.argument("table")
@click.option("--public", "system", metavar="SYSTEM", help="A system in the public measurements, as in h200_sxm.")
@click.option("--device", default="cuda", show_default=True, help="cuda, or cpu to try the command out.")
@click.option(
    "--out",
    callback=_named,
    metavar="DIR",
    help="Folder for the completed table.  [default: TABLE, or where --tp finds it]",
)
def all_reduce(table: str, system: str | None, device: str, out: str | None) -> None:
    """Complete the table of a tensor-parallel rank."""
    from flowsim.calibration.costs.fit import fit_passes
    from flowsim.calibration.costs.table_catalogue import table_folder
    from flowsim.calibration.measure.all_reduce import join, measure_group
    from flowsim.calibration.published.aiconfigurator import package_source
    from flowsim.calibration.published.importer import public_all_reduce

    rank = open_table(table)
    fit_passes(rank)  # before anything is measured
    about = rank.provenance.rank()
    named = not (out or Path(table).is_dir())
    folder = table_folder(about.gpu, about.model, about.tp) if named else Path(out or table)
    with saving(folder):
        group = public_all_reduce(package_source(system), rank) if system else measure_group(rank, device=device)
        whole = join(rank, group)
        whole.save(folder)
    print_errors(whole)
    by_name = f"--gpu {quote(about.gpu)} --model {quote(about.model)} --tp {about.tp}"
    use = by_name if named else f"--cost {quote(str(folder))}"
    click.echo(f"saved the table in {folder}; use it with {use}")


@calibrate.command(
    help="Check TABLE on the GPU of this machine: measure whole passes of its model (about a minute), none of its "
    "operators, and print by how much its cost model differs from them.\n\nThe passes run through as many layers as "
    "the table's, with its attention kernels; a note names kernels that do not work here. --out keeps the passes for "
    f"flowsim calibrate compare TABLE DIR. Needs torch (pip install 'flowsim[calibrate]').\n\n{TABLE_HELP}\n\n\b\n"
    "Examples:\n"
    "  flowsim calibrate verify h200/llama3-8b/tp1\n"
    "  flowsim calibrate verify my-table --quick --out my-passes\n"
    "  flowsim calibrate compare my-table my-passes"
)
@click.argument("table")
@click.option(
    "--out", callback=_named, metavar="DIR", help="Folder to keep the passes in; replaces passes that are there."
)
@click.option("--quick", is_flag=True, help="Fewer passes, in under half a minute.")
@click.option("--device", default="cuda", show_default=True, help="cuda, or cpu to try the command out.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the weights and of the order of passes.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing; needs --out.")
def verify(table: str, out: str | None, quick: bool, device: str, seed: int, quiet: bool) -> None:
    """Check a table against passes measured here."""
    from flowsim.calibration.measure.passes import measure_passes
    from flowsim.io.progress import bar

    if quiet and out is None:
        raise InputError("--quiet", "without --out has no result")
    claimed = open_table(table)
    check_fittable(claimed, table)
    with nullcontext() if out is None else saving(out, check_passes):
        with bar("measuring", quiet=quiet) as progress:
            measured = measure_passes(claimed, device=device, quick=quick, seed=seed, progress=progress)
        if out is not None:
            measured.save(out)
    if not quiet:
        print_comparison(claimed, measured)
        for note in measured.provenance.notes:
            click.echo(note)
        if out is not None:
            again = f"flowsim calibrate compare {quote(table)} {quote(out)}"
            click.echo(f"saved the passes in {out}; {again} prints this again")


@calibrate.command(
    help=f"Write one HTML page about TABLE: curves, residuals, errors, provenance.\n\n{TABLE_HELP}\n\n\b\nExample:\n"
    "  flowsim calibrate report h200/llama3-8b/tp1"
)
@click.argument("table")
@click.option("--compare", callback=_named, metavar="TABLE", help="Another table to compare it with.")
@click.option("--out", callback=_named, metavar="FILE", default="calibration.html", show_default=True, help="The page.")
def report(table: str, compare: str | None, out: str) -> None:
    """Write a page about a table."""
    ours, other = open_table(table), None if compare is None else open_table(compare)
    if compare is not None and other is not None:
        check_same_model(ours, other, compare)
    check_fittable(ours, table)
    write_page(ours, other, out)
    click.echo(f"saved the page in {out}")


@calibrate.command(
    help="Print the ratio of FIRST's device times to SECOND's, by operator and size, and by how much FIRST's cost "
    f"model differs from the whole passes in SECOND.\n\n{TABLE_HELP.replace('TABLE', 'Each')} "
    "Sizes that only one of them has are left out, and so are rows of an imported table that say nothing about its "
    "GPU; matrix products of a shape that was not measured there are marked as such. SECOND may be the passes that "
    "flowsim calibrate verify kept."
    "\n\n\b\nExample:\n"
    "  flowsim calibrate compare h200/llama3-8b/tp1 my-table"
)
@click.argument("first")
@click.argument("second")
def compare(first: str, second: str) -> None:
    """Compare two tables."""
    from flowsim.calibration.published.compare import compare_tables, titles
    from flowsim.rendering import screen

    ours, theirs = open_table(first), open_table(second, passes_only=True)
    if not theirs.operators and not theirs.passes:
        raise InputError(second, "has neither operators nor passes")
    check_same_model(ours, theirs, second, passes=bool(theirs.passes))
    if theirs.passes:
        check_fittable(ours, first)  # before anything is printed
    table = screen.table("operator", "sizes", *titles(), "source of the second")
    for ratios in compare_tables(ours, theirs):
        medians = ("" if ratio is None else f"{ratio:.3f}" for ratio in ratios.medians())
        table.add_row(ratios.operator, str(len(ratios.points)), *medians, ratios.backend)
    if table.row_count or not theirs.passes:
        screen.show(table)
    kinds = ours.provenance.kind, theirs.provenance.kind
    if len(set(kinds)) > 1:
        click.echo("warning: compares tables of different kinds: the first is {}, the second {}".format(*kinds))
    if theirs.passes:
        print_comparison(ours, theirs)


@calibrate.command("import")
@click.argument("source")
@click.option("--system", metavar="NAME", help="A system in the package, as in a100_sxm, h100_sxm, b200_sxm.")
@click.option("--model", default="llama3-8b", show_default=True, help="A shipped model, or a file with its shape.")
@click.option("--tp", type=int, default=1, show_default=True, help="Tensor-parallel degree.")
@click.option(
    "--framework",
    default="vllm",
    show_default=True,
    help="The kernels' framework: vllm, sglang or trtllm.",
)
@click.option(
    "--out",
    callback=_named,
    metavar="DIR",
    help="Folder for the table; replaces a table that is there.  [default: where --gpu SYSTEM finds it]",
)
@click.pass_context
def import_(
    context: click.Context, /, source: str, system: str | None, model: str, tp: int, framework: str, out: str | None
) -> None:
    """Build a table from public measurements: SOURCE is aiconfigurator, or a folder of CSV files with its columns.

    aiconfigurator needs the package aiconfigurator-core (pip install 'flowsim[import]'). Rows that it lacks are filled
    in, and each row states how: matrix products by the arithmetic rate at nearby shapes, norms and the like by
    bandwidth, chunks on context by their work, and host times copied from our nearest measured table.

    \b
    Example:
      flowsim calibrate import aiconfigurator --system a100_sxm --model llama3-8b
      flowsim run example --gpu a100_sxm
    """
    from flowsim.calibration.costs.models import load_model
    from flowsim.calibration.published.aiconfigurator import folder_source, package_source
    from flowsim.calibration.published.importer import import_table
    from flowsim.calibration.published.nearest_table import nearest_own

    if source == "aiconfigurator":
        if system is None:
            raise InputError("--system", "is missing", expected="a system of the package, as in a100_sxm")
        found = package_source(system, framework)
    else:
        if more := [option for option in typed(context) if option in ("--system", "--framework")]:
            raise InputError(", ".join(more), "need the SOURCE aiconfigurator: a folder names its own system")
        found = folder_source(source)
    spec = load_model(model)
    folder = folder_for(found.system, spec.name, tp, out)
    table = import_table(found, spec, nearest_own(spec, found.system), tp)
    with saving(folder):
        table.save(folder)
    for operator, kinds in (table.provenance.cells or {}).items():
        click.echo(f"{operator:12} {', '.join(f'{count} {kind}' for kind, count in kinds.items())}")
    by_name = f"--gpu {quote(found.system)} --model {quote(spec.name)}" + (f" --tp {tp}" if tp > 1 else "")
    click.echo(f"saved the table in {folder}; use it with {f'--cost {quote(str(folder))}' if out else by_name}")


calibrate.add_command(model_command)
calibrate.add_command(server)
