"""What is written into the pages from results that are not shipped."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pandas as pd
import pytest

import flowsim
from docs.written.arena import TABLE, ranking
from docs.written.cuts import draw
from flowsim.arena.grid import Traffic
from support.places import ROOT


def test_the_map_of_cuts_has_a_panel_for_each_pair_of_cuts_and_each_traffic() -> None:
    gains = {"none": 0.5, "chunk": 0.75, "layer": 0.8, "operator": 0.8}
    points = [("synthetic:qwen:9", 1.0, "h200", 1), ("synthetic:qwen:9", float("nan"), "h200", 2)]
    rows = [
        {
            "trace": trace,
            "workload.mix.text": text,
            "gpu": gpu,
            "tp": tp,
            "policy": f"flowprefill:cut={cut}",
            "slo.scale": scale,
            "workload.rate_rps": rate,
            "attainment": gains[cut] * scale,
        }
        for (trace, text, gpu, tp), cut, scale, rate in product(points, gains, (0.5, 1.0), (1.0, 2.0, 3.0, 4.0))
    ]
    panels = draw(pd.DataFrame(rows)).axes[:6]
    assert [panel.get_title() for panel in panels[:2]] == ["text alone, H200", "QwenTrace, two H200s"]
    told = [[text.get_text() for text in panel.texts] for panel in panels]
    assert told[0] == told[1] == ["+15"] * 4 + ["+30"] * 4
    assert told[4] == ["0"] * 8
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["0.5", "1"]


@pytest.mark.filterwarnings("ignore")
def test_the_table_of_the_arena_is_its_ranking(tmp_path: Path) -> None:
    traffic = [Traffic("one", "example", "the example", 40)]
    options = {"traffic": traffic, "loads": (0.9, 1.4), "mixes": {"paper": {}}, "workers": 1, "out": tmp_path}
    arena = flowsim.compete(["fcfs"], only=True, **options)
    arena.save(tmp_path)
    head, columns, _, *rows = ranking(tmp_path)
    assert head == "4 runs: 2 policies, 2 cells. Scores and shares in %:\n"
    assert columns == "| policy | rank | score | minus flowprefill | 0.9 | 1.4 | leads | worst | us a request |"
    assert [row.split(" | ")[0] for row in rows] == [f"| {policy}" for policy in arena.ranking["policy"]]
    assert [row.split(" | ")[2] for row in rows] == [f"{100 * score:.1f}" for score in arena.ranking["share_of_bound"]]
    assert len(TABLE.findall((ROOT / "docs" / "arena.md").read_text(encoding="utf-8"))) == 1
