"""The site of these pages, which `make docs` builds. Its sources are the whole repository, so all links hold there."""

from __future__ import annotations

import inspect
import posixpath
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
from sphinx.application import Sphinx

import flowsim
from flowsim.cli.main import main

ROOT = Path(__file__).parents[1]
INDEX = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
PAGE = re.compile(r"(?<=\]\()[\w/.]+\.(?:md|ipynb)")

project = "flowsim"
author = project_copyright = "flowsim contributors"
release = flowsim.__version__
root_doc = "README"
include_patterns = ["README.md", "docs/*.md", "notebooks/*.ipynb"]
exclude_patterns = [".*", "out"]
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
nb_execution_mode = "off"
myst_heading_anchors = 3
autodoc_default_options = {"members": True}
napoleon_use_ivar = True
toc_object_entries = False
smartquotes = False
default_role = "code"
highlight_language = "none"
html_theme = "furo"
html_title = "flowsim"
html_copy_source = False
html_static_path = ["site.css"]
html_css_files = ["site.css"]


def contents() -> str:
    """The pages under the headings of the index, in its order, each where it is named first."""
    trees = ["```{toctree}\n:hidden:\n\n/docs/README.md\n```"]
    named: set[str] = set()
    for heading, text in SECTION.findall(INDEX):
        pages = [page for page in dict.fromkeys(PAGE.findall(text)) if page not in named]
        named.update(pages)
        paths = "\n".join(f"/{posixpath.normpath(f'docs/{page}')}" for page in pages)
        trees.append(f"```{{toctree}}\n:hidden:\n:caption: {heading}\n\n{paths}\n```")
    return "\n\n".join(trees)


def names() -> str:
    """Every public name with its docstring."""
    blocks = ["## Every public name"]
    for name in flowsim.__all__:
        thing = getattr(flowsim, name)
        if not isinstance(thing, str):
            kind = "class" if inspect.isclass(thing) else "function"
            blocks.append(f"### {name}\n\n```{{eval-rst}}\n.. auto{kind}:: flowsim.{name}\n```")
    return "\n\n".join(blocks)


def options() -> str:
    """The help of every command."""
    blocks = ["## Every option"]
    for path, command in commands_of("flowsim", main):
        context = click.Context(command, info_name=path, terminal_width=100)
        blocks.append(f"### {path}\n\n```\n{command.get_help(context)}\n```")
    return "\n\n".join(blocks)


def commands_of(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """A command and those in it, each with all its words."""
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands_of(f"{path} {name}", inner)


ADDED = {"README": contents, "docs/python": names, "docs/commands": options}
"""Page -> what it has on the site only."""


def add(app: Sphinx, page: str, source: list[str]) -> None:
    """Add it."""
    if page in ADDED:
        source[0] += f"\n\n{ADDED[page]()}\n"


def name_the_index(app: Sphinx, error: Exception | None) -> None:
    """The README is the first page of the site."""
    if not error:
        shutil.copy(Path(app.outdir) / "README.html", Path(app.outdir) / "index.html")


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("source-read", add)
    app.connect("build-finished", name_the_index)
