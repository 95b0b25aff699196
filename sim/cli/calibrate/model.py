"""`flowsim calibrate model`: a table scaled from measured ones to another GPU or another model."""

from __future__ import annotations

from shlex import quote

import click

from flowsim.cli.calibrate.tables import folder_for, saving
from flowsim.cli.click_options import flags_named
from flowsim.cli.command import Command


@click.command(cls=Command)
@click.option(
    "--model",
    default="llama3-8b",
    show_default=True,
    metavar="NAME|FILE",
    help="A shipped model, or a file with its shape.",
)
@click.option(
    "--gpu",
    required=True,
    metavar="NAME|FILE",
    help="A GPU of the catalogue (flowsim models names them), or a YAML file of its datasheet.",
)
@click.option(
    "--from", "source", metavar="GPU[/MODEL]",
    help="Scale from the tables measured on this GPU, or from those of one model.  [default: the GPU itself, or else "
    "the one with most tables]",
)  # fmt: skip
@click.option("--tp", type=int, default=1, show_default=True, help="Model one rank of this many, without all-reduces.")
@click.option(
    "--out",
    metavar="DIR",
    help="Folder for the table; replaces a table that is there.  [default: where --gpu finds it]",
)
def model(model: str, gpu: str, source: str | None, tp: int, out: str | None) -> None:
    """Model a table that nobody measured: operators scaled from measured ones by their roofline.

    Matrix products and attention keep the share of the roofline that measured ones of similar shapes reach; other
    operators take as long as measured ones that move as many bytes. Host times are those of the nearest measured table.
    docs/calibration.md states the error of such tables.

    \b
    Examples:
      flowsim calibrate model --gpu h20
      flowsim run example --gpu h20
    """
    from flowsim.calibration.costs.gpus import completed, load_gpu
    from flowsim.calibration.costs.models import load_model
    from flowsim.calibration.modelled.table import measured_tables, modelled_table
    from flowsim.runs.costs import error_of

    with flags_named():
        spec, (name, sheet) = load_model(model), load_gpu(gpu)
        folder = folder_for(name, spec.name, tp, out)
        table = modelled_table(spec, name, sheet, measured_tables(spec, name, source), tp)
    with saving(folder):
        table.save(folder)
    click.echo(f"scaled from {table.provenance.modelled_from} by {sheet.source}")
    if tp > 1:
        then = f"complete it with {completed(name, out or f'{name}/{spec.name}/tp{tp}')}"
    else:
        click.echo(error_of(table))
        then = f"use it with {f'--cost {quote(out)}' if out else f'--gpu {quote(name)} --model {quote(spec.name)}'}"
    click.echo(f"saved the table in {folder}; {then}")
