"""Numbers as text: durations and rates."""

from __future__ import annotations


def seconds(value: float | None) -> str:
    """A duration with three significant digits, in the unit that suits it."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if value < 0.9995e-3:
        return f"{value * 1e6:.3g} us"
    return f"{value * 1e3:.3g} ms" if value < 0.9995 else f"{value:.4g} s" if value < 1000 else f"{value:,.0f} s"


def rate(value: float | None) -> str:
    """A request rate as text: "12.30 req/s"."""
    return "-" if value is None else f"{value:.2f} req/s"
