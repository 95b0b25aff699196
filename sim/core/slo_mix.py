"""SLO mixes: which TTFT each request is promised, by itself, by its class or, without classes, by its length."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from flowsim.core.slo_presets import BAND_TOKENS, CLASSES, PRESETS, REST
from flowsim.core.slo_text import band_names, by_class_text, by_length_text, own_text
from flowsim.errors import InputError, unknown
from flowsim.io import documents
from flowsim.io.notebook import facts_html
from flowsim.io.pairs import numbers_by_name
from flowsim.io.schema import Checked, Positive, build, fitted

if TYPE_CHECKING:
    from flowsim.traces.trace import Trace

OF_TRACE = "trace"
"""The mix of the SLOs that a trace gives its requests."""
WORKLOAD = ("shares", "rates")
"""Keys of a file of SLOs that set other options."""
MIX = (
    "a model, seconds for every request, CLASS=SECONDS pairs such as text=0.25,*=4, 'trace' for the trace's own SLOs, "
    "or a YAML file"
)
Bands = Mapping[int | str, float]


@dataclass(frozen=True, eq=False)
class Assignment:
    """What `SLOMix.assign` gives each request of a trace; arrays of shape [n], in the trace's order."""

    ttft_slo_s: NDArray[np.float64]
    """TTFT SLO, seconds; NaN: the request has none and is excluded from attainment."""
    class_code: NDArray[np.int64]
    """Index into `class_names`, never negative."""
    class_names: tuple[str, ...]
    """The trace's classes or, when it has none, the length bands."""
    rule: str
    """One line: the rule that was used."""

    @property
    def excluded(self) -> int:
        """How many requests have no SLO."""
        return int(np.isnan(self.ttft_slo_s).sum())


class SLOMix(Checked, frozen=True):
    """TTFT SLOs in seconds, by class; and by input length for traces without classes.

    A class that has no SLO here gets that of the entry "*"; without one, its requests have no SLO.

    Attributes:
        name: what it is called in reports.
        ttft_s: the SLO of each class, seconds, `scale` included.
        length_bands: the SLO, seconds, `scale` included, of prompts of at most this many tokens ("*": longer than the
            last band).
        scale: the factor by which the SLOs have been multiplied.
        by: what gives a request its class: "class" (the trace), "length", or "shares" (a draw in the option
            slo.shares); "" for the trace's classes if it has any, then the shares if there are any, then the length.
        from_trace: whether a request keeps the SLO that the trace gives it, times `scale`, if it gives it one.

    Raises:
        InputError: an SLO that is not a positive number, or a mix without one.
    """

    name: str = "custom"
    ttft_s: Mapping[str, Positive] = {}
    length_bands: Mapping[int | str, Positive] = {}
    scale: Positive = 1.0
    by: Literal["", "class", "length", "shares"] = ""
    from_trace: bool = False

    def __post_init__(self) -> None:
        try:
            super().__post_init__()
            bands = {_tokens(key): slo_s for key, slo_s in self.length_bands.items()}
            if not (self.ttft_s or bands or self.from_trace):
                raise InputError("", "is empty", expected="at least one class or length band")
        except InputError as error:
            raise error.within(f"SLO mix {self.name!r}") from None
        msgspec.structs.force_setattr(self, "ttft_s", dict(self.ttft_s))
        ordered = dict(sorted(bands.items(), key=lambda band: math.inf if band[0] == REST else band[0]))
        msgspec.structs.force_setattr(self, "length_bands", ordered)

    def _repr_html_(self) -> str:
        by_length = [("without classes", by_length_text(self.length_bands, {}))] if self.length_bands else []
        own = [("first", "what the trace gives each request")] if self.from_trace else []
        rows = [*own, *((name, f"{slo_s:g} s") for name, slo_s in self.ttft_s.items()), *by_length]
        return facts_html(self.name, rows, f" x {self.scale:g}" if self.scale != 1 else "")

    @classmethod
    def preset(cls, model: str) -> SLOMix:
        """The SLOs of FlowPrefill's evaluation for this model, as length bands too; InputError when it has none."""
        if model not in PRESETS:
            known = f"no TTFT SLOs are known for the model {model!r} (known, from FlowPrefill: {', '.join(PRESETS)})"
            raise InputError("", known, expected=f"an SLO mix of your own: {MIX}")
        return by_class(model, dict(zip(CLASSES, PRESETS[model], strict=True)))

    @classmethod
    def uniform(cls, ttft_s: float) -> SLOMix:
        """The same SLO for every request, whatever its class or length."""
        ttft_s = fitted(ttft_s, Positive, "slo")
        return by_class(f"{ttft_s:g} s", {REST: ttft_s})

    @classmethod
    def parse(cls, text: str) -> SLOMix:
        """A mix from what a user typed.

        A model's name (`preset`); one number of seconds (`uniform`); pairs such as "text=0.25,image=0.5,*=4"; "trace"
        for what the trace itself gives its requests; or the path of a YAML file (see `read_slo_file`). A mix without
        length bands that names all of `CLASSES` takes their SLOs for prompts of up to 1024, 4096, 16384 and more
        tokens; one with "*" gives every length that SLO.
        """
        text = text.strip()
        if text in PRESETS:
            return cls.preset(text)
        if text == OF_TRACE:
            return cls(OF_TRACE, from_trace=True)
        if text.endswith((".yaml", ".yml")):
            return read_slo_file(text).mix
        if "=" in text:
            slos = numbers_by_name(text, "slo", "CLASS=SECONDS pairs")
            return by_class(text, {name: fitted(slo_s, Positive, f"slo: {name}") for name, slo_s in slos.items()})
        try:
            seconds = float(text)
        except ValueError:
            raise unknown("SLO mix", text, (*PRESETS, OF_TRACE), where="slo", expected=MIX) from None
        return cls.uniform(seconds)

    def scaled(self, k: float) -> SLOMix:
        """This mix with every SLO multiplied by `k`."""
        fitting = fitted(k, Positive, "scale")
        slos = {key: value * fitting for key, value in self.ttft_s.items()}
        bands = {key: value * fitting for key, value in self.length_bands.items()}
        return msgspec.structs.replace(self, ttft_s=slos, length_bands=bands, scale=self.scale * fitting)

    def with_targets(self, targets: Mapping[str, float]) -> SLOMix:
        """This mix with other SLOs of these classes, seconds; length bands that followed from its classes follow."""
        slos = {**self.ttft_s, **targets}
        bands = default_bands(slos) if self.length_bands == default_bands(self.ttft_s) else self.length_bands
        return msgspec.structs.replace(self, ttft_s=slos, length_bands=bands)

    def rule(self, trace: Trace, *, shares: bool = False) -> str:
        """What gives the requests of this trace their classes: "class", "length" or, if there are any, "shares"."""
        classed = trace.class_names and (self.ttft_s or not self.length_bands)
        return self.by or ("class" if classed else "shares" if shares else "length")

    def check_classes(self, trace: Trace) -> None:
        """Refuse a class that no request of a trace has, when classes decide; a mix may name all of CLASSES.

        Raises:
            InputError: it offers the nearest class.
        """
        usual = CLASSES if set(CLASSES) <= set(self.ttft_s) else ()
        for name in self.ttft_s:
            if trace.class_names and self.by in ("", "class") and name not in (*trace.class_names, *usual, REST):
                raise unknown("class", name, trace.class_names, f"of {trace.where}", where="slo")

    def assign(self, trace: Trace) -> Assignment:
        """The class and TTFT SLO of each request: its own, or by the trace's classes or by length.

        Raises:
            InputError: not a single request gets an SLO.
        """
        by_class = self.rule(trace) != "length"
        own_s = trace.slo_s * self.scale if self.from_trace else np.full(len(trace), math.nan)
        has_own = ~np.isnan(own_s)
        if not has_own.any():
            self._check_slos_of_mix(trace, by_class=by_class)
        names, slos, codes = self._by_class(trace) if by_class else self._by_length(trace)
        ttft_slo_s = np.where(has_own, own_s, slos[codes])
        if np.isnan(ttft_slo_s).all():
            raise InputError(
                trace.where,
                f"no request gets an SLO from the mix {self.name!r}, which has {', '.join(self.ttft_s) or 'none'}",
                expected=f"SLOs of the classes {', '.join(names) or 'none'}, or '*' for the rest",
            )
        rule = self.describe(by_class=by_class)
        if has_own.any():
            rest = rule if not np.isnan(ttft_slo_s[~has_own]).all() else ""
            rule = own_text(own_s[has_own], int((~has_own).sum()), rest)
            rule = f"{rule} (x {self.scale:g})" if self.scale != 1 else rule
        return Assignment(ttft_slo_s, codes, names, rule)

    def _by_class(self, trace: Trace) -> tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.int64]]:
        names, codes = trace.class_names, trace.class_code
        if (codes < 0).any():
            codes = np.where(codes < 0, len(names), codes)
            names = (*names, "(none)" if "(none)" not in names else "(no class)")
        return names, self._slos(names), codes

    def _slos(self, names: Iterable[str]) -> NDArray[np.float64]:
        rest = self.ttft_s.get(REST, math.nan)
        return np.array([self.ttft_s.get(name, rest) for name in names])

    def _by_length(self, trace: Trace) -> tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.int64]]:
        edges = [edge for edge in self.length_bands if isinstance(edge, int)]
        slos = [*(self.length_bands[edge] for edge in edges), self.length_bands.get(REST, math.nan)]
        codes = np.searchsorted(np.array(edges, dtype=np.int64), trace.input_length, side="left")
        return band_names(edges), np.array(slos), codes.astype(np.int64)

    def _check_slos_of_mix(self, trace: Trace, *, by_class: bool) -> None:
        """Refuse a mix that can have no SLO for a trace that gives its requests none."""
        if self.from_trace and not (self.ttft_s or self.length_bands):
            expected = "a trace with the column slo_s, or another SLO mix"
            raise InputError(trace.where, "gives none of its requests an SLO", expected=expected)
        if not (by_class or self.length_bands):
            without = "" if trace.class_names else f"{trace.name} has no classes and "
            expected = f"a mix with '*', with all of {', '.join(CLASSES)}, or with bands"
            raise InputError("", f"{without}the mix {self.name!r} has no length bands", expected=expected)

    def describe(self, *, by_class: bool = True) -> str:
        """One line: the rule for traces with classes or, with by_class=False, for those without."""
        head = self.name if self.scale == 1 else f"{self.name} x {self.scale:g}"
        said = by_class_text(self.ttft_s) if by_class else by_length_text(self.length_bands, self.ttft_s)
        return said if said.startswith(f"{head} for ") else f"{head}: {said}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON or YAML; `from_dict` reads them back."""
        bands = {str(key): value for key, value in self.length_bands.items()}
        values = {"name": self.name, "scale": self.scale, "ttft_s": dict(self.ttft_s), "length_bands": bands}
        further = {"by": self.by, "from_trace": self.from_trace}
        return values | {name: value for name, value in further.items() if value}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SLOMix:
        """The mix of `to_dict`. InputError for an unknown key, or a value of another type."""
        _check_keys(values, cls.__struct_fields__)
        mix = build(cls, values)
        follows = mix.ttft_s and "length_bands" not in values
        return msgspec.structs.replace(mix, length_bands=default_bands(mix.ttft_s)) if follows else mix


@dataclass(frozen=True)
class SLOFile:
    """What a YAML file of SLOs holds: the mix, and what it says of other options."""

    mix: SLOMix
    shares: Mapping[str, Any] = field(default_factory=dict)
    rates: Mapping[str, Any] = field(default_factory=dict)


def read_slo_file(path: str) -> SLOFile:
    """The SLOs in a YAML file.

    It holds ttft_s: {class: seconds} and, optionally, length_bands: {tokens: seconds}, name, by, from_trace, and
    slo_scale, a factor of all SLOs. It may also set two other options: shares: {class: share}, in which requests
    without a class draw theirs, and rates: {class: requests per second}.

    Raises:
        InputError: the file cannot be read, or something in it is wrong.
    """
    values = documents.mapping(path, "a mapping with ttft_s: {class: seconds}")
    try:
        own = [name for name in SLOMix.__struct_fields__ if name != "scale"]
        _check_keys(values, (*own, "slo_scale", *WORKLOAD))
        mix = SLOMix.from_dict({"name": Path(path).stem, **{key: values[key] for key in own if key in values}})
        mix = mix.scaled(values["slo_scale"]) if "slo_scale" in values else mix
    except InputError as error:
        raise error.within(path) from None
    return SLOFile(mix, *(values.get(name, {}) for name in WORKLOAD))


def by_class(name: str, ttft_s: Mapping[str, float]) -> SLOMix:
    """A mix of SLOs by class, whose length bands follow from them, if they can (see `SLOMix.parse`)."""
    return SLOMix(name, ttft_s, default_bands(ttft_s))


def default_bands(ttft_s: Mapping[str, float]) -> Bands:
    """The length bands that follow from SLOs by class."""
    if all(key in ttft_s for key in CLASSES):
        return dict(zip((*BAND_TOKENS, REST), (ttft_s[key] for key in CLASSES), strict=True))
    return {REST: ttft_s[REST]} if REST in ttft_s else {}


def _check_keys(values: Mapping[str, Any], known: Iterable[str]) -> None:
    for key in values:
        if key not in known:
            raise unknown("key of an SLO mix", str(key), known)


def _tokens(key: int | str) -> int | str:
    """The edge of a length band; YAML and JSON hold it as text."""
    edge = int(key) if isinstance(key, str) and key.isdecimal() else key
    if edge == REST or (isinstance(edge, int) and edge > 0):
        return edge
    raise InputError("length band", found=key, expected=f"a positive number of tokens, or {REST!r} for the rest")
