"""SLO mixes as people read them: the names of length bands, and the rule of a mix in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from flowsim.core.slo_presets import REST


def band_names(edges: Sequence[int]) -> tuple[str, ...]:
    """The names of the bands up to each of the edges, and of the one beyond the last."""
    labels = [f"{edge // 1024}k" if edge % 1024 == 0 else str(edge) for edge in edges]
    return (*(f"<={label}" for label in labels), f">{labels[-1]}" if labels else "all")


def by_class_text(ttft_s: Mapping[str, float]) -> str:
    """The SLO of each class: "by class: text 0.25 s, the rest 4 s"."""
    if list(ttft_s) == [REST]:
        return for_all_text(ttft_s[REST])
    return f"by class: {_listed({'the rest' if key == REST else key: slo_s for key, slo_s in ttft_s.items()})}"


def by_length_text(length_bands: Mapping[int | str, float], ttft_s: Mapping[str, float]) -> str:
    """The SLO of each length band, and which classes of `ttft_s` have one that is not used."""
    edges = [edge for edge in length_bands if isinstance(edge, int)]
    slos = dict(zip(band_names(edges), length_bands.values(), strict=False))
    if list(length_bands) != [REST]:
        return f"by input length: {_listed(slos)}"
    named = [key for key in ttft_s if key != REST]
    unused = f" (no request has a class, so that of {', '.join(named)} is not used)" if named else ""
    return for_all_text(length_bands[REST]) + unused


def for_all_text(slo_s: float) -> str:
    """One SLO for all: "0.5 s for every request"."""
    return f"{slo_s:g} s for every request"


def own_text(own_s: NDArray[np.float64], without: int, rest: str) -> str:
    """SLOs that requests have of their own, and what is promised to those `without` one.

    Args:
        own_s: the SLO of each request that has one, seconds.
        without: how many requests have none.
        rest: the rule of the mix for those; "" if there is none, so that they have no SLO.
    """
    least, most = (f"{bound:g} s" for bound in (own_s.min(), own_s.max()))
    said = f"of each request, from the trace: {least if least == most else f'{least} to {most}'}"
    if not without:
        return said
    return f"{said}; {without:,} without one: {rest or 'no SLO'}"


def _listed(slos: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {slo_s:g} s" for name, slo_s in slos.items())
