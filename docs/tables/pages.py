"""Which page has which table, and how a page gets them anew."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from docs.tables import accuracy, nearness

ROOT = Path(__file__).parents[2]
TABLE = re.compile(r"(?<=<!-- table: )([\w-]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)
Tables = Mapping[str, Callable[[], Iterable[str]]]
"""Name of a table -> what gives its lines."""
PAGES: Mapping[Path, Tables] = {
    ROOT / "README.md": {"costs-in-short": accuracy.in_short},
    ROOT / "docs" / "accuracy.md": {"dense-models": accuracy.dense_models, "all-tables": accuracy.all_tables},
    ROOT / "docs" / "validation.md": {"by-measure": nearness.by_measure},
}


def renewed(page: Path, tables: Tables) -> str:
    """The text of a page with its tables as they come out now.

    Raises:
        KeyError: a marker names a table that the page does not have.
    """

    def table(found: re.Match[str]) -> str:
        return found[1] + found[2] + "\n" + "\n".join(tables[found[1]]()) + "\n\n"

    return TABLE.sub(table, page.read_text(encoding="utf-8"))
