"""SLO mixes: which TTFT each request is promised, by its class or, without classes, by its length."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flowsim.core.slo_presets import BAND_TOKENS, CLASSES, PRESETS
from flowsim.errors import InputError, unknown
from flowsim.io import documents

if TYPE_CHECKING:
    from flowsim.traces.trace import Trace

REST = "*"
"""Stands for every class, or every length, that is not named."""

BY = ("", "class", "length", "shares")
UNITS = {"ttft_s": "seconds", "length_bands": "seconds", "shares": "weights", "rates": "requests per second"}
WORKLOAD = ("shares", "rates")
"""Keys of a file of SLOs that set options of the workload."""
FIELDS = ("name", "scale", "by", "ttft_s", "length_bands")
MIX = "a model, seconds for every request, CLASS=SECONDS pairs such as text=0.25,*=4, or a YAML file"


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


@dataclass(frozen=True)
class SLOMix:
    """TTFT SLOs in seconds, by class; and by input length for traces without classes.

    A class that has no SLO here gets that of the entry "*"; without one, its requests have no SLO.

    Attributes:
        name: what it is called in reports.
        ttft_s: the SLO of each class, seconds, `scale` included.
        length_bands: the SLO, seconds, `scale` included, of prompts of at most this many tokens ("*": longer than the
            last band).
        scale: the factor by which the SLOs have been multiplied.
        by: what gives a request its class: "class" (the trace), "length", or "shares" (a draw in the shares of the
            workload); "" for the trace's classes if it has any, then the shares if there are any, then the length.

    Raises:
        InputError: an SLO that is not a positive number, or a mix without one.
    """

    name: str
    ttft_s: Mapping[str, float]
    length_bands: Mapping[int | str, float] = field(default_factory=dict)
    scale: float = 1.0
    by: str = ""

    def __post_init__(self) -> None:
        if not (self.ttft_s or self.length_bands):
            raise self._wrong("is empty", expected="at least one class or length band")
        slos = {str(key): self._positive(f"class {key!r}", slo_s) for key, slo_s in self.ttft_s.items()}
        bands = {self._tokens(key): self._positive(f"band {key}", s) for key, s in self.length_bands.items()}
        object.__setattr__(self, "ttft_s", slos)
        object.__setattr__(self, "length_bands", dict(sorted(bands.items(), key=lambda band: _edge(band[0]))))
        self._positive("scale", self.scale, "a positive number")
        if self.by not in BY:
            raise unknown("rule by which requests get a class", self.by, BY[1:])

    def _wrong(self, problem: str, expected: str = "") -> InputError:
        return InputError(f"SLO mix {self.name!r}", problem, expected=expected)

    def _positive(self, what: str, value: object, expected: str = "a positive number of seconds") -> float:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf:
            return float(value)
        raise InputError(f"SLO mix {self.name!r}: {what}", found=value, expected=expected)

    def _tokens(self, key: object) -> int | str:
        if key == REST:
            return REST
        if isinstance(key, str) and key.isdecimal():  # as YAML and JSON hold it
            key = int(key)
        if isinstance(key, int) and not isinstance(key, bool) and key > 0:
            return key
        expected = f"a positive number of tokens, or {REST!r} for the rest"
        raise InputError(f"SLO mix {self.name!r}: length band", found=key, expected=expected)

    @classmethod
    def preset(cls, model: str) -> SLOMix:
        """The SLOs of FlowPrefill's evaluation for this model, as length bands too; InputError when it has none."""
        if model not in PRESETS:
            known = f"no TTFT SLOs are known for the model {model!r} (known, from FlowPrefill: {', '.join(PRESETS)})"
            raise InputError("", known, expected=f"an SLO mix of your own: {MIX}")
        return _with_default_bands(model, dict(zip(CLASSES, PRESETS[model], strict=True)))

    @classmethod
    def uniform(cls, ttft_s: float) -> SLOMix:
        """The same SLO for every request, whatever its class or length."""
        return _with_default_bands(f"{ttft_s:g} s", {REST: ttft_s})

    @classmethod
    def parse(cls, text: str) -> SLOMix:
        """A mix from what a user typed.

        A model's name (`preset`); one number of seconds (`uniform`); pairs such as "text=0.25,image=0.5,*=4"; or the
        path of a YAML file (see `read_slo_file`). A mix without length bands that names all of `CLASSES` takes their
        SLOs for prompts of up to 1024, 4096, 16384 and more tokens; one with "*" gives every length that SLO.
        """
        text = text.strip()
        if text in PRESETS:
            return cls.preset(text)
        if text.endswith((".yaml", ".yml")):
            return read_slo_file(text).mix
        if "=" in text:
            return _with_default_bands(text, _pairs(text))
        try:
            seconds = float(text)
        except ValueError:
            raise unknown("SLO mix", text, PRESETS, where="slo", expected=MIX) from None
        return cls.uniform(seconds)

    def scaled(self, k: float) -> SLOMix:
        """This mix with every SLO multiplied by `k`."""
        self._positive("scale", k, "a positive number")
        slos = {key: value * k for key, value in self.ttft_s.items()}
        bands = {key: value * k for key, value in self.length_bands.items()}
        return replace(self, ttft_s=slos, length_bands=bands, scale=self.scale * k)

    def rule(self, trace: Trace, *, shares: bool = False) -> str:
        """What gives the requests of this trace their classes: "class", "length" or, if there are any, "shares"."""
        classed = trace.class_names and self.ttft_s
        return self.by or ("class" if classed else "shares" if shares else "length")

    def check_classes(self, trace: Trace) -> None:
        """Refuse a class that no request of a trace has, when classes decide; a mix may name all of CLASSES.

        Raises:
            InputError: it offers the nearest class.
        """
        usual = CLASSES if set(CLASSES) <= set(self.ttft_s) else ()
        for name in self.ttft_s:
            if trace.class_names and self.by in ("", "class") and name not in (*trace.class_names, *usual, REST):
                raise unknown(f"class of {trace.where}", name, trace.class_names, where="slo")

    def assign(self, trace: Trace) -> Assignment:
        """The class and TTFT SLO of each request, by the trace's classes or by length.

        Raises:
            InputError: not a single request gets an SLO.
        """
        by_class = self.rule(trace) != "length"
        names, slos, codes = self._by_class(trace) if by_class else self._by_length(trace)
        ttft_slo_s = slos[codes]
        if np.isnan(ttft_slo_s).all():
            known = ", ".join(map(str, self.ttft_s)) or "none"
            raise InputError(
                trace.where,
                f"no request gets an SLO from the mix {self.name!r}, which has {known}",
                expected=f"SLOs of the classes {', '.join(names) or 'none'}, or '*' for the rest",
            )
        return Assignment(ttft_slo_s, codes, names, self.describe(by_class=by_class))

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
        if not self.length_bands:
            without = "" if trace.class_names else f"{trace.name} has no classes and "
            raise InputError(
                "",
                f"{without}the mix {self.name!r} has no length bands",
                expected=f"a mix with '*', with all of {', '.join(CLASSES)}, or with bands",
            )
        edges = [edge for edge in self.length_bands if isinstance(edge, int)]
        slos = [*(self.length_bands[edge] for edge in edges), self.length_bands.get(REST, math.nan)]
        codes = np.searchsorted(np.array(edges, dtype=np.int64), trace.input_length, side="left")
        return _band_names(edges), np.array(slos), codes.astype(np.int64)

    def describe(self, *, by_class: bool = True) -> str:
        """One line: the rule for traces with classes or, with by_class=False, for those without."""
        head = self.name if self.scale == 1 else f"{self.name} x {self.scale:g}"
        if by_class:
            rest = "the rest" if len(self.ttft_s) > 1 else "every class"
            slos = {rest if key == REST else key: value for key, value in self.ttft_s.items()}
        else:
            edges = [edge for edge in self.length_bands if isinstance(edge, int)]
            slos = dict(zip(_band_names(edges), self.length_bands.values(), strict=False))
        listed = ", ".join(f"{key} {value:g} s" for key, value in slos.items())
        return f"{head}: by {'class' if by_class else 'input length'}: {listed}{'' if by_class else self._unused()}"

    def _unused(self) -> str:
        """Which classes have an SLO that no length band has; "" if none."""
        named = [key for key in self.ttft_s if key != REST] if list(self.length_bands) == [REST] else []
        return f" (no request has a class, so that of {', '.join(named)} is not used)" if named else ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON or YAML; `from_dict` reads them back."""
        bands = {str(key): value for key, value in self.length_bands.items()}
        values = {"name": self.name, "scale": self.scale, "ttft_s": dict(self.ttft_s), "length_bands": bands}
        return values | ({"by": self.by} if self.by else {})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SLOMix:
        """The mix of `to_dict`; at least ttft_s or length_bands. InputError for an unknown key."""
        _check(values, FIELDS)
        name, slos, scale = str(values.get("name", "custom")), values.get("ttft_s", {}), values.get("scale", 1.0)
        by = str(values.get("by", ""))
        if "length_bands" not in values:
            return replace(_with_default_bands(name, slos), scale=scale, by=by)
        return cls(name, slos, values["length_bands"], scale, by)


@dataclass(frozen=True)
class SLOFile:
    """What a YAML file of SLOs holds: the mix, and what it says of the workload."""

    mix: SLOMix
    shares: Mapping[str, Any] = field(default_factory=dict)
    rates: Mapping[str, Any] = field(default_factory=dict)


def read_slo_file(path: str) -> SLOFile:
    """The SLOs in a YAML file.

    It holds ttft_s: {class: seconds} and, optionally, length_bands: {tokens: seconds}, name, by, and slo_scale, a
    factor of all SLOs. It may also set two options of the workload: shares: {class: weight}, in which requests without
    a class draw theirs, and rates: {class: requests per second}.

    Raises:
        InputError: the file cannot be read, or something in it is wrong.
    """
    values = documents.mapping(path, "a mapping with ttft_s: {class: seconds}")
    try:
        _check(values, ("name", "slo_scale", "by", "ttft_s", "length_bands", *WORKLOAD))
        apart = ("slo_scale", *WORKLOAD)
        mix = SLOMix.from_dict(
            {"name": Path(path).stem, **{key: value for key, value in values.items() if key not in apart}}
        )
        mix = mix.scaled(values["slo_scale"]) if "slo_scale" in values else mix
    except InputError as error:
        raise error.within(path) from None
    return SLOFile(mix, values.get("shares", {}), values.get("rates", {}))


def _check(values: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """InputError for an unknown key, and for a value that should be a mapping."""
    for key, value in values.items():
        if key not in known:
            raise unknown("key of an SLO mix", str(key), known)
        if key in UNITS and not isinstance(value, Mapping):
            raise InputError(key, found=value, expected=f"a mapping to {UNITS[key]}")


def _pairs(text: str) -> dict[str, float]:
    """Seconds by class of text such as "text=0.25,*=4"; InputError for a pair that is malformed or repeated."""
    slos: dict[str, float] = {}
    for pair in text.split(","):
        key, _, value = (part.strip() for part in pair.partition("="))
        try:
            slo_s = float(value)
        except ValueError:
            raise InputError("slo", found=pair.strip(), expected="CLASS=SECONDS pairs") from None
        if not key or key in slos:
            raise InputError("slo", f"class {key!r} is {'empty' if not key else 'repeated'}")
        slos[key] = slo_s
    return slos


def _with_default_bands(name: str, ttft_s: Mapping[str, float]) -> SLOMix:
    """A mix whose length bands follow from its classes, if they can (see `SLOMix.parse`)."""
    bands: dict[int | str, float] = {}
    if all(key in ttft_s for key in CLASSES):
        bands = dict(zip((*BAND_TOKENS, REST), (ttft_s[key] for key in CLASSES), strict=True))
    elif REST in ttft_s:
        bands = {REST: ttft_s[REST]}
    return SLOMix(name, ttft_s, bands)


def _edge(band: int | str) -> float:
    return math.inf if isinstance(band, str) else band


def _band_names(edges: list[int]) -> tuple[str, ...]:
    """The names of the bands up to each of the edges, and of the one beyond the last."""
    labels = [f"{edge // 1024}k" if edge % 1024 == 0 else str(edge) for edge in edges]
    return (*(f"<={label}" for label in labels), f">{labels[-1]}" if labels else "all")
