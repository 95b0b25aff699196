"""The commands `flowsim bundle` and `flowsim reproduce`."""

from __future__ import annotations

from shlex import quote

import click

from flowsim.cli.command import Command, quiet_option, say, trust_option


@click.command(cls=Command)
@click.argument("results")
@click.option("--out", metavar="FILE", required=True, help="The archive, whose name ends in .zip.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
def bundle(results: str, out: str, quiet: bool) -> None:
    """Pack RESULTS, with all that it takes to make them again, into one archive.

    RESULTS is the folder that run, compare, sweep or capacity wrote with --out. The archive also gets the traces, the
    operator tables that are not shipped, the SLO files, and the sources of policies of your own with the modules of
    yours that they import; and a manifest with the SHA-256 of every file and the versions. Results whose inputs have
    changed since are refused. The same results make the same bytes.

    \b
    Example:
      flowsim bundle results/rate --out rate.zip
    """
    from flowsim.archive.bundle import bundle as pack

    say(f"saved {pack(results, out)}; check it with flowsim reproduce {quote(out)}", quiet)


@click.command(cls=Command)
@click.argument("bundle")
@trust_option
@click.option("--workers", type=int, metavar="N", help="Processes for a study.  [default: one per core]")
@quiet_option
def reproduce(bundle: str, trust_policies: bool, workers: int | None, quiet: bool) -> int:
    """Run what BUNDLE holds again, and compare the bytes.

    BUNDLE, an archive that flowsim bundle wrote, is unpacked into a temporary folder and its digests are verified. Each
    file of the results makes a line: same, differs, missing, damaged, or not run again, such as a figure that flowsim
    plot drew. The exit status is 1 unless all that was run is the same. Code of policies in the bundle is run only with
    --trust-policies: nothing keeps it from doing harm.

    \b
    Example:
      flowsim reproduce rate.zip
    """
    from flowsim.archive.reproduce import reproduce as run_again

    done = run_again(bundle, trust_policies=trust_policies, workers=workers, quiet=quiet)
    if not quiet:
        for name, state in done.files.items():
            say(f"{state:<13}  {name}")
        if done.versions:
            say(f"other versions: {done.versions}")
    return 0 if done.same else 1
