"""What the requests of a run are promised: the options, the mix that they mean, and the draw of classes in shares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import msgspec
import numpy as np

from flowsim.core.slo_mix import OF_TRACE, Assignment, SLOFile, SLOMix, by_class, read_slo_file
from flowsim.core.slo_presets import CLASSES, PRESETS, REST
from flowsim.errors import InputError, unknown
from flowsim.io.pairs import numbers_by_name
from flowsim.io.schema import Amount, Checked, Name, Positive, fitted, option
from flowsim.io.seeds import generator
from flowsim.runs.workload import blamed, digits
from flowsim.traces.trace import Trace

ROUNDING = 1e-9
"""By how much shares may miss 1."""


class SLOOptions(Checked, frozen=True):
    """What each request is promised."""

    mix: Annotated[
        Mapping[str, Any] | Name | Positive | None,
        option(
            "TTFT SLOs: seconds for all (0.5), by class (text=0.25,search=4,*=1), a model's preset (qwen2.5-14b), "
            "'trace' (those of its column slo_s alone), or a YAML file.",
            "MIX",
            default="the trace's own, then the paper's for the model",
            keyword="slo",
            file=True,
        ),
    ] = None
    scale: Annotated[Positive, option("Multiply every SLO.", keyword="slo_scale")] = 1.0
    targets: Annotated[
        Mapping[str, Positive] | None,
        option("TTFT SLOs of single classes, seconds, in place of the mix's.", keyword="slo_targets", flag=None),
    ] = None
    shares: Annotated[
        Mapping[str, Amount] | Name | None,
        option(
            "Draw the class of each request in these shares: text=.7,search=.3. If they add up to less than 1, the "
            "other classes share the rest equally.",
            "SHARES",
            default="those of the SLO file, for a trace without classes",
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.mix, Mapping):
            if is_by_class(self.mix):
                msgspec.structs.force_setattr(self, "mix", fitted(dict(self.mix), Mapping[str, Positive], "mix"))
            else:
                try:
                    SLOMix.from_dict(self.mix)
                except InputError as error:
                    raise error.within("mix") from None
        fitted(shares_of(self.shares), Mapping[str, Amount], "shares")


def is_by_class(mix: Mapping[str, Any]) -> bool:
    """Whether a mapping holds seconds by class, rather than the fields of `SLOMix`."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in mix.values())
    fields = any(isinstance(value, Mapping) or name in SLOMix.__struct_fields__ for name, value in mix.items())
    return bool(mix) and (numbers or not fields)


def mix_text(mix: Mapping[str, float]) -> str:
    """SLOs by class as text that means the same: "text=0.25,*=4"."""
    return ",".join(f"{name}={digits(slo_s)}" for name, slo_s in mix.items())


def shares_of(shares: Mapping[str, float] | str | None) -> Mapping[str, float]:
    """The shares that an option means, by class; empty if there are none."""
    return numbers_by_name(shares, "shares", "CLASS=SHARE pairs") if isinstance(shares, str) else shares or {}


def slo_file(
    mix: Mapping[str, Any] | str | float | None,
    model: str,
    targets: Mapping[str, float] | None = None,
    *,
    own: bool = False,
) -> SLOFile:
    """The SLO mix that options mean, unscaled, and what its file says of other options.

    Args:
        mix: the option; None means the model's, or none where the trace has SLOs and nothing is known of the model.
        model: the model's name.
        targets: SLOs of single classes in place of the mix's. Without a mix, those of other classes than the paper's
            are the mix.
        own: whether the trace gives requests SLOs of their own, which they keep unless a mix is asked for.
    """
    if isinstance(mix, str) and mix.endswith((".yaml", ".yml")):
        file = read_slo_file(mix)
    elif mix is None and targets and not set(targets) <= set(CLASSES):
        file = SLOFile(msgspec.structs.replace(by_class(mix_text(targets), targets), from_trace=own))
    elif mix is None:
        known = SLOMix.preset(model) if model in PRESETS or not own else SLOMix.parse(OF_TRACE)
        file = SLOFile(msgspec.structs.replace(known, from_trace=own))
    elif isinstance(mix, Mapping):
        file = SLOFile(by_class(mix_text(mix), mix) if is_by_class(mix) else SLOMix.from_dict(mix))
    else:
        file = SLOFile(SLOMix.parse(str(mix)))
    return replace(file, mix=file.mix.with_targets(targets)) if targets else file


def drawn_shares(
    options: SLOOptions, slos: SLOFile, rates: Mapping[str, float] | None, trace: Trace
) -> dict[str, float]:
    """The shares in which the requests of a trace draw their classes; empty if they do not draw them.

    Shares that are asked for are drawn whatever the trace; those of an SLO file, or the rates of classes, only for a
    trace without classes.

    Args:
        options: those that are asked for.
        slos: what they mean.
        rates: requests per second of each class, if they are given.
        trace: the requests.

    Raises:
        InputError: a class without an SLO, shares that do not go together with the rates or with the rule of the mix,
            or a mix that wants shares where there are none.
    """
    mix, asked = slos.mix, shares_of(options.shares)
    with blamed("slo.mix"):
        of_file = fitted(slos.shares, Mapping[str, Amount], "shares of the SLO file")
    given: Mapping[str, float] = asked or of_file or rates or {}
    with blamed("slo.shares"):
        if asked and mix.by in ("class", "length"):
            raise InputError("shares", f"have no effect, as the SLO mix goes by {mix.by}")
        if rates and given is not rates and not _alike(given, rates):
            problem = f"differ in proportion from rates: {dict(given)} and {dict(rates)}"
            raise InputError("shares", problem, expected="either, or both alike")
    with blamed("slo.mix"):
        if mix.by == "shares" and not given:
            raise InputError(f"SLO mix {mix.name!r}", "draws classes in shares (slo.shares), and there are none")
        for name in {**given, **(rates or {})}:
            if mix.ttft_s and not {name, REST} & set(mix.ttft_s):
                raise unknown("class", name, mix.ttft_s, f"in the shares or rates for the SLO mix {mix.name!r}")
    with blamed("slo.shares"):
        if asked or mix.rule(trace, shares=bool(given)) == "shares":
            return dict(given) if given is rates else _completed(given, mix)
    return {}


def promised(trace: Trace, mix: SLOMix, shares: Mapping[str, float] | None, seed: int) -> Assignment:
    """The class and the SLO of each request of a replayed trace.

    Args:
        trace: the requests.
        mix: the mix, scaled.
        shares: as `drawn_shares` returns them; none: nothing is drawn.
        seed: of the draw.

    Raises:
        InputError: not a single request gets an SLO, or one of several classes is called "all".
    """
    with blamed("slo.mix"):
        slo = _drawn(trace, mix, shares, seed) if shares else mix.assign(trace)
        if "all" in slo.class_names and len(slo.class_names) > 1:
            error = InputError("class 'all'", "has the name of all classes together", expected="another name")
            if "all" in trace.class_names:
                first = np.flatnonzero(trace.class_code == trace.class_names.index("all"))[0]
                error = error.within(f"{trace.where}: request {first}")
            raise error
    return slo


def _drawn(trace: Trace, mix: SLOMix, shares: Mapping[str, float], seed: int) -> Assignment:
    """The SLO of each request by a class that is drawn for it."""
    named = {name: slo_s for name, slo_s in mix.ttft_s.items() if name in shares or name == REST}
    slo = msgspec.structs.replace(mix, ttft_s=named).assign(with_drawn_classes(trace, shares, seed))
    drawn = ", ".join(f"{name} {weight:g}" for name, weight in shares.items())
    return replace(slo, rule=f"{slo.rule}; classes drawn in shares {drawn} (seed {seed})")


def with_drawn_classes(trace: Trace, shares: Mapping[str, float], seed: int) -> Trace:
    """The trace with a class drawn for each request, in proportion to the shares.

    The draw is a race: each request has, for each class, an exponential time of mean 1 that only the seed and the
    class's name decide, and takes the class whose time divided by its share is smallest. So a request has a class with
    a probability proportional to its share; and as the share of one class grows, requests only join it: those that
    have it at a share of 0.2 are among those that have it at 0.5, and the others keep their classes.
    """
    with np.errstate(divide="ignore"):  # a share of 0 never wins
        times = [generator(seed, *name.encode()).exponential(size=len(trace)) / share for name, share in shares.items()]
    return replace(trace, class_code=np.argmin(times, axis=0).astype(np.int64), class_names=tuple(shares))


def _completed(shares: Mapping[str, float], mix: SLOMix) -> dict[str, float]:
    """The shares with what they leave of 1, in equal parts for the other classes of the mix ("rest" for its "*")."""
    total = sum(shares.values())
    weights = len(shares) > 1 and min(shares.values()) >= 1
    if not total or (total > 1 + ROUNDING and not weights):
        expected = "> 0 and <= 1 (or each of several >= 1, as weights)"
        raise InputError("sum of the shares", found=total, expected=expected)
    left = 1 - total
    if left <= ROUNDING:
        return dict(shares)
    others = [name for name in mix.ttft_s if name not in (*shares, REST)] or ["rest"] * (REST in mix.ttft_s)
    if not others:
        raise InputError("sum of the shares", found=total, expected="1, since the SLOs have no other class")
    return {**shares, **dict.fromkeys(others, left / len(others))}


def _alike(some: Mapping[str, float], others: Mapping[str, float]) -> bool:
    """Whether these are the same weights but for a factor."""
    one, other = sum(some.values()), sum(others.values())
    return some.keys() == others.keys() and all(math.isclose(some[key] / one, others[key] / other) for key in some)
