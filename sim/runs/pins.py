"""What a run was made of, pinned in its config.yaml: digests of what it read, and versions of what it ran on."""

from __future__ import annotations

import platform
import sys
import warnings
from collections.abc import Collection, Mapping

import numpy as np

import flowsim
from flowsim.errors import ChangedInputs, InputError
from flowsim.policies.registry import PolicySpec
from flowsim.runs.digests import package_digest, policy_digest
from flowsim.runs.options_file import VERSIONS
from flowsim.runs.own_sources import MAIN
from flowsim.runs.prepare import Prepared

SHOWN = 12
"""Digits of a digest that are shown."""


def versions() -> dict[str, str]:
    """The versions of what every run needs; `source` is a digest of flowsim's own modules."""
    found = (flowsim.__version__, package_digest(), np.__version__, platform.python_version())
    return dict(zip(VERSIONS, found, strict=True))


def pins_of(ready: Prepared) -> dict[str, str]:
    """What a run is made of, by name: SHA-256 of the trace, the cost table and the source of a policy of one's own, and
    the `versions`. What is given in Python and has no source is left out."""
    record = ready.costs.model.provenance
    digests = {"trace": ready.loaded.sha256, "cost": record and record.sha256, "policy": _policy(ready.options.policy)}
    return {name: digest for name, digest in digests.items() if digest} | versions()


def changed_inputs(pinned: Mapping[str, str], found: Mapping[str, str]) -> str:
    """What is not as it was pinned: "trace (found 0a1b2c, pinned 9f8e7d)"; empty if all is."""
    return ", ".join(
        f"{name} (found {found.get(name, 'none')[:SHOWN]}, pinned {value[:SHOWN]})"
        for name, value in pinned.items()
        if found.get(name) != value
    )


def compare_pins(ready: Prepared, found: Mapping[str, str], besides: Collection[str] = ()) -> None:
    """Warn (`ChangedInputs`) in one line of what differs from the pins that the options hold.

    Args:
        ready: the run.
        found: its `pins_of`.
        besides: names of pins that need not hold, as a study varies what they are of.
    """
    pinned = {name: value for name, value in ready.options.pinned.items() if name not in besides}
    if said := changed_inputs(pinned, found):
        warnings.warn(f"not as pinned in the config: {said}", ChangedInputs, stacklevel=3)


def _policy(spec: PolicySpec) -> str:
    """The digest of a policy's source; "" if it is shipped, or was made where no source is kept."""
    module = spec.name.partition(":")[0]
    if spec.shipped or module not in sys.modules:
        return ""
    policy_digest.cache_clear()
    try:
        return policy_digest(spec.name)
    except InputError:
        if module != MAIN:
            raise
    return ""
