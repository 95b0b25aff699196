"""Nothing is defined twice in a file, and the command and the page show all that is."""

from __future__ import annotations

from collections import Counter

from click.testing import CliRunner

from flowsim.cli.main import main
from flowsim.results.definitions.files import tables
from support.places import ROOT
from support.results import names


def test_no_name_is_defined_twice_in_a_file() -> None:
    for title, definitions in tables().items():
        twice = [name for name, number in Counter(names(definitions)).items() if number > 1]
        assert not twice, title
        assert all(of.meaning for of in definitions)


def test_the_command_and_the_page_show_every_definition() -> None:
    shown = CliRunner().invoke(main, ["metrics"]).output
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for definitions in tables().values():
        for of in definitions:
            assert of.name in shown
            assert f"| {of.label} | {of.meaning} | {of.formula} |" in page
