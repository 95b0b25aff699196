"""SLO mixes: which TTFT each request is promised, by its class or, without classes, by its length."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flowsim.core.slo_text import mapping, pairs
from flowsim.errors import InputError, unknown
from flowsim.traces.seeds import generator

if TYPE_CHECKING:
    from flowsim.traces.trace import Trace

REST = "*"
"""Stands for every class, or every length, that is not named."""

CLASSES = ("text", "image", "search", "file")
BAND_TOKENS = (1024, 4096, 16384)
PRESETS: Mapping[str, tuple[float, float, float, float]] = {
    "llama3-8b": (0.25, 0.5, 4.0, 6.0),
    "qwen2.5-14b": (0.4, 0.8, 6.5, 9.0),
    "llama3-70b": (1.0, 2.0, 15.0, 18.0),
}
"""TTFT SLOs in seconds of `CLASSES`, by model. Source: FlowPrefill (arXiv 2602.16603).

It evaluates Qwen3-30B-A3B too, for which no SLOs are known to us: there is no preset for it, nor for other models.
"""

BY = ("", "class", "length", "shares")
UNITS = {"ttft_s": "seconds", "length_bands": "seconds", "shares": "weights", "rates": "req/s"}
ALLOWED_MIX = "a model, seconds for every request, class=seconds pairs such as text=0.25,*=4, or a YAML file"


@dataclass(frozen=True, eq=False)
class Assignment:
    """What `SLOMix.assign` gives each request of a trace; arrays of shape [n], in the trace's order."""

    ttft_slo_s: NDArray[np.float64]
    """TTFT SLO in seconds; NaN = the request has none and is excluded from attainment."""
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
    Raises InputError for an SLO that is not a positive number and for a mix that is empty.
    """

    name: str
    ttft_s: Mapping[str, float]
    """The SLO of each class, `scale` included."""
    length_bands: Mapping[int | str, float] = field(default_factory=dict)
    """The SLO up to and including so many input tokens ("*": beyond the last band), `scale` included."""
    scale: float = 1.0
    shares: Mapping[str, float] = field(default_factory=dict)
    """Classes that requests draw, with probabilities in these proportions (those of any `rates`); used as `by` says."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Requests per second of each class, to which `flowsim.run` brings the trace before it is replayed."""
    by: str = ""
    """What gives a request its class: "class" (the trace's), "length" or "shares"; "" = the first that there is."""

    def __post_init__(self) -> None:
        if not (self.ttft_s or self.length_bands):
            raise InputError(f"SLO mix {self.name!r} is empty; allowed: at least one class or length band")
        slos = {str(key): self._positive(f"class {key!r}", slo_s) for key, slo_s in self.ttft_s.items()}
        bands = {self._tokens(key): self._positive(f"band {key}", s) for key, s in self.length_bands.items()}
        object.__setattr__(self, "ttft_s", slos)
        object.__setattr__(self, "length_bands", dict(sorted(bands.items(), key=lambda band: _edge(band[0]))))
        self._positive("the scale", self.scale, "a positive number")
        if self.by not in BY:
            raise unknown("way to give requests a class", self.by, BY[1:])
        for key in ("shares", "rates"):
            object.__setattr__(self, key, self._weights(key, getattr(self, key)))
        if self.shares and self.rates and not _alike(self.shares, self.rates):
            found = f"shares {dict(self.shares)} and rates {dict(self.rates)} differ in proportion"
            raise InputError(f"SLO mix {self.name!r}: {found}; allowed: either, or both alike")
        if self.by == "shares" and not (self.shares or self.rates):
            raise InputError(f"SLO mix {self.name!r}: by is 'shares', and there are none")

    def _positive(self, what: str, value: object, allowed: str = "a positive number of seconds") -> float:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf:
            return float(value)
        raise InputError(f"SLO mix {self.name!r}: {what} is {value!r}; allowed: {allowed}")

    def _weights(self, key: str, values: Mapping[str, object]) -> dict[str, float]:
        for name in map(str, values):
            if name not in self.ttft_s and REST not in self.ttft_s:
                raise unknown(f"class in the {key} of the SLO mix {self.name!r}", name, self.ttft_s)
        return {str(name): self._positive(f"{key}: {name!r}", v, "a positive number") for name, v in values.items()}

    def _tokens(self, key: object) -> int | str:
        if key == REST:
            return REST
        if isinstance(key, str) and key.isdecimal():  # as JSON writes it
            key = int(key)
        if isinstance(key, int) and not isinstance(key, bool) and key > 0:
            return key
        allowed = f"a positive number of tokens, or {REST!r} for the rest"
        raise InputError(f"SLO mix {self.name!r}: length band {key!r}; allowed: {allowed}")

    @classmethod
    def preset(cls, model: str) -> SLOMix:
        """The SLOs of FlowPrefill's evaluation for this model, as length bands too; InputError when it has none."""
        if model not in PRESETS:
            known = f"no TTFT SLOs are known for the model {model!r} (known, from FlowPrefill: {', '.join(PRESETS)})"
            raise InputError(f"{known}; allowed: an SLO mix of your own: {ALLOWED_MIX}")
        return _with_default_bands(model, dict(zip(CLASSES, PRESETS[model], strict=True)))

    @classmethod
    def uniform(cls, ttft_s: float) -> SLOMix:
        """The same SLO for every request, whatever its class or length."""
        return _with_default_bands(f"{ttft_s:g} s", {REST: ttft_s})

    @classmethod
    def parse(cls, text: str) -> SLOMix:
        """A mix from what a user typed.

        A model's name (`preset`); one number of seconds (`uniform`); pairs such as
        "text=0.25,image=0.5,*=4"; or the path of a YAML file with ttft_s: {class: seconds} and, if wanted,
        length_bands: {tokens: seconds}, shares: {class: weight}, rates: {class: requests per second},
        by: class, length or shares, and slo_scale: a factor of all SLOs. Without bands of its own, a mix that
        names all of `CLASSES` takes them as bands up to 1024, 4096, 16384 and more tokens; one with "*" gives
        every length that SLO.
        """
        text = text.strip()
        if text in PRESETS:
            return cls.preset(text)
        if text.endswith((".yaml", ".yml")):
            return _from_yaml(Path(text))
        if "=" in text:
            return _with_default_bands(text, pairs(text))
        try:
            seconds = float(text)
        except ValueError:
            raise InputError(f"{unknown('SLO mix', text, PRESETS)}; allowed: {ALLOWED_MIX}") from None
        return cls.uniform(seconds)

    def scaled(self, k: float) -> SLOMix:
        """This mix with every SLO multiplied by `k`."""
        self._positive("the scale", k, "a positive number")
        slos = {key: value * k for key, value in self.ttft_s.items()}
        bands = {key: value * k for key, value in self.length_bands.items()}
        return replace(self, ttft_s=slos, length_bands=bands, scale=self.scale * k)

    def way(self, trace: Trace) -> str:
        """What gives the requests of this trace their classes: "class", "length" or "shares"."""
        classed = trace.class_names and self.ttft_s
        return self.by or ("class" if classed else "shares" if self.shares or self.rates else "length")

    def assign(self, trace: Trace, seed: int = 0) -> Assignment:
        """The class and TTFT SLO of each request: by the trace's classes, by shares drawn from `seed`, or by length.

        Without `by`, the trace's classes go first, then shares. With a seed, a request keeps its draw while shares
        move. Raises InputError when not a single request gets an SLO.
        """
        way = self.way(trace)
        if way == "shares":
            names, slos, codes = self._by_shares(trace, seed)
        else:
            names, slos, codes = self._by_class(trace) if way == "class" else self._by_length(trace)
        ttft_slo_s = slos[codes]
        if np.isnan(ttft_slo_s).all():
            found = f"no request of {trace.name} gets an SLO from the mix {self.name!r}"
            classes = ", ".join(names) or "none"
            allowed = ", ".join(map(str, self.ttft_s)) or "none"
            raise InputError(f"{found}: its classes are {classes}; the mix has {allowed} (add '*' for the rest)")
        return Assignment(ttft_slo_s, codes, names, self._rule(trace, seed))

    def _rule(self, trace: Trace, seed: int) -> str:
        way = self.way(trace)
        if way != "shares":
            return self.describe(by_class=way == "class")
        drawn = ", ".join(f"{name} {weight:g}" for name, weight in (self.shares or self.rates).items())
        return f"{self.describe()}; classes drawn in shares {drawn} (seed {seed})"

    def _by_shares(self, trace: Trace, seed: int) -> tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.int64]]:
        shares = self.shares or self.rates
        edges = np.cumsum(list(shares.values()))
        drawn = generator(seed).random(len(trace)) * edges[-1]
        codes = np.minimum(np.searchsorted(edges, drawn, side="right"), edges.size - 1).astype(np.int64)
        return tuple(shares), self._slos(shares), codes

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
            found = f"{without}the mix {self.name!r} has no length bands"
            raise InputError(f"{found}; allowed: a mix with '*', with all of {', '.join(CLASSES)}, or with bands")
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
        return f"{head}: by {'class' if by_class else 'input length'}: {listed}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON or YAML; `from_dict` reads them back."""
        bands = {str(key): value for key, value in self.length_bands.items()}
        known = {"name": self.name, "scale": self.scale, "ttft_s": dict(self.ttft_s), "length_bands": bands}
        extras: dict[str, Any] = {"shares": dict(self.shares), "rates": dict(self.rates), "by": self.by}
        return known | {key: value for key, value in extras.items() if value}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SLOMix:
        """The mix of `to_dict`; InputError for an unknown key. Only ttft_s or length_bands must be there."""
        _check_keys(values, ("name", "scale", "by", *UNITS))
        for key, unit in UNITS.items():
            if not isinstance(values.get(key, {}), Mapping):
                raise InputError(f"{key} is {values[key]!r}; allowed: a mapping to {unit}")
        name, slos, scale = str(values.get("name", "custom")), values.get("ttft_s", {}), values.get("scale", 1.0)
        extras = {"shares": values.get("shares", {}), "rates": values.get("rates", {}), "by": str(values.get("by", ""))}
        if "length_bands" not in values:
            return replace(_with_default_bands(name, slos), scale=scale, **extras)
        return cls(name, slos, values["length_bands"], scale, **extras)


def _check_keys(values: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in values:
        if key not in known:
            raise unknown("key of an SLO mix", str(key), known)


def _with_default_bands(name: str, ttft_s: Mapping[str, float]) -> SLOMix:
    """A mix whose length bands follow from its classes, if they can (see `SLOMix.parse`)."""
    bands: dict[int | str, float] = {}
    if all(key in ttft_s for key in CLASSES):
        bands = dict(zip((*BAND_TOKENS, REST), (ttft_s[key] for key in CLASSES), strict=True))
    elif REST in ttft_s:
        bands = {REST: ttft_s[REST]}
    return SLOMix(name, ttft_s, bands)


def _from_yaml(path: Path) -> SLOMix:
    values = mapping(path)
    try:
        _check_keys(values, ("name", "slo_scale", "by", *UNITS))
        factor = {key: value for key, value in values.items() if key == "slo_scale"}
        rest = {key: value for key, value in values.items() if key not in factor}
        mix = SLOMix.from_dict({"name": path.stem, **rest})
        return mix.scaled(factor["slo_scale"]) if factor else mix
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _alike(some: Mapping[str, float], others: Mapping[str, float]) -> bool:
    """Whether these are the same weights but for a factor."""
    one, other = sum(some.values()), sum(others.values())
    return some.keys() == others.keys() and all(math.isclose(some[key] / one, others[key] / other) for key in some)


def _edge(band: int | str) -> float:
    return math.inf if isinstance(band, str) else band


def _band_names(edges: list[int]) -> tuple[str, ...]:
    """The names of the bands up to each of the edges, and of the one beyond the last."""
    labels = [f"{edge // 1024}k" if edge % 1024 == 0 else str(edge) for edge in edges]
    return (*(f"<={label}" for label in labels), f">{labels[-1]}" if labels else "all")
