"""The figure of the arena: the share of the clairvoyant bound against the load, a line for each policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowsim.rendering.style import foot, new_axes, plain, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = (9.0, 5.0)
GREY = "0.75"


@dataclass(frozen=True)
class Lines:
    """What the figure shows.

    Attributes:
        loads: offered loads, ascending.
        shares: of each policy by rank, the mean share of the bound at each load.
        named: the policies in colour, by rank.
        title: what was run.
        note: small print.
    """

    loads: Sequence[float]
    shares: Mapping[str, Sequence[float]]
    named: Sequence[str]
    title: str
    note: str


def arena_figure(lines: Lines) -> Figure:
    """The figure."""
    axes = new_axes(SIZE)
    for name, shares in lines.shares.items():
        if name not in lines.named:
            axes.plot(lines.loads, [100 * share for share in shares], color=GREY, linewidth=0.8, zorder=1)
    for place, name in enumerate(lines.named):
        colour, _, dashes = style(place)
        shares = [100 * share for share in lines.shares[name]]
        axes.plot(lines.loads, shares, dashes, color=colour, marker="o", markersize=4, label=name, zorder=2)
    plain(axes)
    axes.set_xticks(list(lines.loads))
    axes.set_xlabel("offered load (device seconds of the least work, per second)")
    axes.set_ylabel("attainment, % of the clairvoyant bound")
    axes.set_ylim(0, 100.5)
    axes.set_title(lines.title, loc="left", parse_math=False)
    figure: Figure = axes.figure
    title = f"{len(lines.shares)} policies,\nthe others in grey"
    figure.legend(frameon=False, loc="outside right upper", title=title, alignment="left")
    foot(figure, lines.note)
    return figure
