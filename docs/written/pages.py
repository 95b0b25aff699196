"""The pages, and the tables between their markers `<!-- table: NAME -->` and `<!-- end -->`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from docs.written import accuracy, commands, faults, load, metrics, modelled, nearness, options, policies

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
TABLE = re.compile(r"(?<=<!-- table: )([\w-]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)
TABLES: Mapping[str, Callable[[], Iterable[str]]] = {
    "costs-in-short": accuracy.in_short,
    "dense-models": accuracy.dense_models,
    "all-tables": accuracy.all_tables,
    "attacks": faults.attacks,
    "modelled-errors": modelled.by_size,
    "by-measure": nearness.by_measure,
    "load-replays": load.replays,
    "load-waiting": load.waiting,
    "load-study": load.study,
    "commands": commands.by_section,
    "options": options.reference,
    "policies": policies.by_family,
    "metrics": metrics.definitions,
    "population": metrics.population,
}
"""Name of a table -> what gives its lines."""


def with_tables(page: str) -> str:
    """A page with its tables as they come out now; KeyError when a marker names none of them."""
    return TABLE.sub(lambda found: "\n".join((found[1] + found[2], *TABLES[found[1]](), "\n")), page)
