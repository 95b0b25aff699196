"""Another mix of classes, from the requests of a trace."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from flowsim.errors import InputError, unknown
from flowsim.traces.trace import Trace


def remixed(trace: Trace, shares: Mapping[str, float], seed: int) -> Trace:
    """A trace with the same arrival times, and classes and lengths drawn anew.

    Each request gets a class by `shares`, and the lengths of a request of that class, drawn from the trace with
    replacement. Draws are seeded, and one number decides each class: two mixes with one seed differ as little as they
    can (common random numbers).

    Args:
        trace: has classes.
        shares: share of requests by class, 0 to 1; classes not named divide what is left as they do in the trace.
        seed: of the draws.

    Raises:
        InputError: no classes in the trace, an unknown class, or shares that are negative or above 1 together.
    """
    rng = np.random.default_rng((seed, len(trace)))
    weights = _weights(trace, shares)
    codes = np.searchsorted(np.cumsum(weights)[:-1], rng.random(len(trace)), side="right")
    place, rows = rng.random(len(trace)), np.empty(len(trace), dtype=np.int64)
    for code in np.unique(codes):
        members, mine = np.flatnonzero(trace.class_code == code), codes == code
        rows[mine] = members[(place[mine] * members.size).astype(np.int64)]
    lengths = (trace.input_length[rows], trace.output_length[rows])
    what = ", ".join(f"{name} {share:.3g}" for name, share in zip(trace.class_names, weights, strict=True))
    notice = f"requests drawn anew by class, seed {seed}: {what} (of the trace with SHA-256 {trace.sha256[:12]})"
    return Trace.from_columns(
        trace.arrival_s,
        *lengths,
        codes,
        trace.class_names,
        name=trace.name,
        source=trace.source,
        notices=(*trace.notices, notice),
    )


def _weights(trace: Trace, shares: Mapping[str, float]) -> NDArray[np.float64]:
    """The share of each class of the trace; they sum to 1."""
    if not trace.class_names:
        raise InputError(f"{trace.name} has no classes, so no mix of them can be drawn")
    for name, share in shares.items():
        if name not in trace.class_names:
            raise unknown(f"class of {trace.name} in mix", name, trace.class_names)
        if not 0 <= share <= 1:
            raise InputError(f"mix.{name} is {share!r}, allowed is a share from 0 to 1")
    left = 1 - sum(shares.values())
    if left < -1e-9:
        raise InputError(f"the shares of the mix sum to {1 - left:g}, allowed is 1 at most")
    own = np.bincount(trace.class_code[trace.class_code >= 0], minlength=len(trace.class_names)).astype(float)
    given = np.array([shares.get(name, np.nan) for name in trace.class_names])
    rest = np.where(np.isnan(given), own, 0.0)
    if left > 1e-9 and not rest.any():
        raise InputError(f"the shares of the mix sum to {1 - left:g} and no class is left for the rest, allowed is 1")
    weights = np.where(np.isnan(given), rest * max(left, 0.0) / max(rest.sum(), 1.0), given)
    if (weights[own == 0] > 0).any():
        raise InputError(f"{trace.name}: a class of the mix has no request here to draw from")
    total: float = weights.sum()
    return weights / total
