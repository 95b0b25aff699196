"""Write the ranking of an arena into docs/arena.md, and its figure beside it: `python -m docs.written.arena FOLDER`."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from docs.written.outputs import ROOT
from flowsim.arena.arena_text import rank_text, share_text
from flowsim.arena.grid import REFERENCE
from flowsim.arena.tables import AT

TABLE = re.compile(r"(?<=<!-- arena -->\n).*?(?=<!-- end -->)", re.DOTALL)


def ranking(folder: Path) -> Iterator[str]:
    """The lines of the table: one per policy that was ranked in the arena that this folder holds, in %."""
    found, costs = pd.read_csv(folder / "ranking.csv"), pd.read_csv(folder / "decision_costs.csv")
    costs = costs.drop_duplicates("policy", keep="last").set_index("policy")
    cells, runs = pd.read_csv(folder / "arena.csv"), pd.read_parquet(folder / "runs.parquet")
    loads = [name for name in found if name.startswith(AT)]
    grid = len(cells.groupby(["traffic", "load", "mix"]))
    yield f"{len(runs):,} runs: {len(found)} policies, {grid} cells. Scores and shares in %:\n"
    heads = ("policy", "rank", "score", f"minus {REFERENCE}", *(load.removeprefix(AT) for load in loads))
    yield f"| {' | '.join((*heads, 'leads', 'worst', 'us a request'))} |"
    yield f"|---|---|{'--:|' * (len(loads) + 5)}"
    for row in found.to_dict("records"):
        score, *shares, worst = (row[name] for name in ("share_of_bound", *loads, "worst_share"))
        less = share_text(row, f"less_{REFERENCE}", "{:+.1f}")
        figures = (f"{100 * score:.1f}", less, *(f"{100 * share:.1f}" for share in shares))
        last = (str(row["best_cells"]), f"{100 * worst:.0f}", f"{costs.loc[row['policy'], 'us_a_request']:.0f}")
        yield f"| {' | '.join((row['policy'], rank_text(row), *figures, *last))} |"


if __name__ == "__main__":
    page = ROOT / "docs" / "arena.md"
    text = "".join(f"{line}\n" for line in ranking(Path(sys.argv[1])))
    page.write_text(TABLE.sub(lambda _: text, page.read_text(encoding="utf-8")), encoding="utf-8")
    shutil.copy(Path(sys.argv[1]) / "arena.png", page.with_suffix(".png"))
