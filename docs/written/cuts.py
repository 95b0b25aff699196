"""Draw docs/cuts.png from the runs of studies/cuts.yaml: `python -m docs.written.cuts cuts`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from docs.written.outputs import ROOT
from flowsim.rendering.figure_file import save_figure
from flowsim.report.saved import Saved

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

LOADS = (0.5, 0.7, 0.9, 1.1)
"""What the four rates of each point are, of what the device could do."""
PAIRS = (("layer", "none"), ("layer", "chunk"), ("operator", "layer"))
TRAFFIC = {"qwen text": "text alone", "azure-conversation": "Azure conversations", "qwen": "QwenTrace"}
TRAFFIC |= {"mooncake-conversation": "Mooncake"}
GPUS = {"h200": "H200", "h100": "H100", "a100_sxm": "A100 (imported)"}
MOST = 30
"""Points of attainment with the strongest colour."""


def draw(runs: pd.DataFrame) -> Figure:
    """Points of attainment that one cut gains on another, by load and SLO scale, for each traffic and GPU.

    Args:
        runs: the runs of the study.
    """
    from matplotlib.figure import Figure

    runs = runs.assign(point=[_point(row) for row in runs.to_dict("records")])
    runs["cut"] = runs["policy"].str.removeprefix("flowprefill:cut=")
    points = list(dict.fromkeys(runs["point"]))
    figure = Figure(figsize=(2.1 * len(points) + 2, 7.2), layout="constrained")
    panels = figure.subplots(len(PAIRS), len(points), sharex=True, sharey=True, squeeze=False)
    for (cut, other), row in zip(PAIRS, panels, strict=True):
        for point, panel in zip(points, row, strict=True):
            there = runs[runs["point"] == point]
            means = 100 * there.groupby(["cut", "slo.scale", "workload.rate_rps"])["attainment"].mean()
            gain = (means[cut] - means[other]).unstack("workload.rate_rps")
            shown = panel.imshow(gain, cmap="RdBu", vmin=-MOST, vmax=MOST, origin="lower", aspect="auto")
            for (y, x), gained in np.ndenumerate(gain.to_numpy()):
                colour = "white" if abs(gained) > 0.6 * MOST else "black"
                text = f"{gained:+.0f}" if round(gained) else "0"
                panel.text(x, y, text, ha="center", va="center", color=colour)
            panel.set_xticks(range(len(LOADS)), LOADS)
            panel.set_yticks(range(len(gain)), [f"{scale:g}" for scale in gain.index])
        row[0].set_ylabel(f"cut={cut} - cut={other}\nSLO scale")
    for point, top, bottom in zip(points, panels[0], panels[-1], strict=True):
        top.set_title(point, fontsize=10)
        bottom.set_xlabel("load")
    figure.colorbar(shown, ax=panels, shrink=0.6, label="attainment, points")
    return figure


def _point(row: dict[str, object]) -> str:
    """The traffic and the GPU of a run."""
    preset = str(row["trace"]).split(":")[1]
    traffic = TRAFFIC[f"{preset} text" if row["workload.mix.text"] == 1 else preset]
    gpu = GPUS[str(row["gpu"])]
    return f"{traffic}, {f'two {gpu}s' if row['tp'] == 2 else gpu}"


if __name__ == "__main__":
    save_figure(draw(Saved.read(sys.argv[1]).study.table), str(ROOT / "docs" / "cuts.png"))
