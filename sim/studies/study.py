"""A study: the points of a grid or a list, read from YAML and checked before the first run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowsim.errors import InputError, unknown
from flowsim.io import documents
from flowsim.io.documents import Keys
from flowsim.io.notebook import facts_html, shortened
from flowsim.io.schema import build, fitted
from flowsim.results.definitions.requests_parquet import REQUESTS
from flowsim.runs.keywords import policy_text
from flowsim.runs.options import PINNED, flat, is_option
from flowsim.runs.pins import compare_pins, pins_of
from flowsim.studies.point import MOST_VALUES, RANGE, Point, check, prepared, values_of_range
from flowsim.studies.search import Search, check_searchable
from flowsim.studies.source_lines import SourceLines, axis_path

SECTIONS = ("title", "run", "axes", "points", "capacity", "requests")
COLUMNS = [column.name for column in REQUESTS]
RATES = ("workload.rate_rps", "workload.rate_scale")
PINS = {"trace": {"trace", "seed"}, "cost": {"cost", "model", "gpu", "tp"}, "policy": {"policy"}}
"""The options that decide each pin."""
TOGETHER = (
    ("policy",),
    ("trace", "workload.format", "workload.spread", "workload.drop_failed", "workload.window", "workload.limit",
     "workload.concurrency", "workload.new_tokens", "workload.prefix_cache", "workload.mix", "workload.rates", "slo"),
    ("model", "gpu", "tp", "cost"),
    ("model", "slo"),
)  # fmt: skip
"""Options that may be right one by one and wrong together; axes of the same kind are checked in all combinations."""


@dataclass(frozen=True)
class Study:
    """What `flowsim.sweep` runs: `points` (if any) crossed with the grid of `axes`, on top of `base`.

    Attributes:
        base: options that all points share, by path (section "run" of the YAML form, where sections may be nested).
        axes: values by path of an option; the last axis moves fastest.
        listed: points listed one by one (section "points"), those with ranges written out.
        places: the place of each listed point in that section.
        search: when set, each point is a search for its highest rate.
        requests: keep one row per request of every run, besides the one per run: all columns, or those named.
        title: one line for reports and figures.
        root: the folder in which files are looked up.
        lines: where in the YAML file a value stands, by its path in the document, for errors.
        source: that file.
    """

    base: Mapping[str, Any]
    axes: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    listed: tuple[Mapping[str, Any], ...] = ()
    places: tuple[int, ...] = ()
    search: Search | None = None
    requests: bool | tuple[str, ...] = False
    title: str = ""
    root: str = "."
    lines: Mapping[Keys, int] = field(default_factory=dict)
    source: str = "study"

    @classmethod
    def of(cls, values: Any, *, root: str | Path = ".", source: str = "study", lines: Any = None) -> Study:
        """The study of plain values: a mapping of sections. InputError says which part is wrong."""
        at = SourceLines(source, lines or {})
        _check_sections(at, values)
        with at(("run",)):
            base = _policies_as_text(flat(_mapping(values, "run")))
        axes = {axis_path(name): _axis(at, name, given) for name, given in _axes(at, values).items()}
        listed = _listed(at, values.get("points"))
        _check_once(at, base, listed, axes)
        with at(("axes",)):
            _check_size((len(listed) or 1) * math.prod(map(len, axes.values())))
        return cls(
            base,
            axes,
            tuple(point for _, point in listed),
            tuple(place for place, _ in listed),
            _search(at, values["capacity"]) if "capacity" in values else None,
            _requests(at, values),
            _plain(at, values, "title", "", str),
            str(Path(root).resolve()),
            lines or {},
            source,
        )

    @classmethod
    def read(cls, path: str | Path) -> Study:
        """The study in a YAML file; the files that it names are looked up in its folder."""
        document = documents.located(path, "a YAML file with a study")
        return cls.of(document.values, root=Path(path).parent, source=str(path), lines=document.lines)

    def __len__(self) -> int:
        return max(len(self.listed), 1) * math.prod(map(len, self.axes.values()))

    def _repr_html_(self) -> str:
        rows = [(path, str(value)) for path, value in self.base.items()]
        rows += [(path, shortened(values)) for path, values in self.axes.items()]
        return facts_html(self.title or self.source, rows, f": {len(self):,} runs")

    def point(self, place: int) -> dict[str, Any]:
        """The options of a point by its place: listed points in order, each with the grid, last axis fastest."""
        chosen: dict[str, Any] = {}
        for name in reversed(list(self.axes)):
            place, index = divmod(place, len(self.axes[name]))
            chosen[name] = self.axes[name][index]
        listed = self.listed[place] if self.listed else {}
        return {**self.base, **listed, **{name: chosen[name] for name in self.axes}}

    @property
    def policies(self) -> list[str]:
        """The specifications of all policies, in order. InputError: what `Point.of` rejects."""
        return list(dict.fromkeys(Point.of(self.point(place)).policy for place in range(len(self))))

    def check(self) -> None:
        """Check every value of every axis and every listed point, without running one.

        Raises:
            InputError: source, line, axis, and what a run would reject.
        """
        at = SourceLines(self.source, self.lines)
        first = {name: values[0] for name, values in self.axes.items()}
        for keys, extra in [*self._listed_paths(), *self._axis_paths(), *self._together()]:
            values = {**self.base, **first, **extra}
            with at(keys, self._places(at, values)):
                self._check(values, whole=keys[:2] != ("axes", "seed"))  # any seed will do, and there may be thousands

    def compare_pins(self) -> None:
        """Warn of what differs from what section "run" pins, but for what axes and listed points vary."""
        if self.base.get(PINNED):
            varied = {name.partition(".")[0] for values in (self.axes, *self.listed) for name in values}
            ready = prepared(Point.of(self.point(0)), self.root)
            compare_pins(ready, pins_of(ready), [pin for pin, options in PINS.items() if varied & options])

    def _check(self, values: Mapping[str, Any], *, whole: bool) -> None:
        for rate in RATES:
            if self.search and values.get(rate) not in (None, 1):
                raise InputError(rate, "is given, but a study with capacity finds the rate itself")
        point = Point.of(values)
        if whole:
            ready = check(point, self.root)
            if self.search:
                check_searchable(ready, self.search)

    @property
    def _start(self) -> Mapping[str, Any]:
        """The first listed point, if any are listed: with it the axes are checked."""
        return self.listed[0] if self.listed else {}

    def _listed_paths(self) -> list[tuple[Keys, Mapping[str, Any]]]:
        """The first point of all, then each listed one."""
        listed = [(("points", place), point) for place, point in zip(self.places, self.listed, strict=True)]
        return [((), self._start), *listed]

    def _axis_paths(self) -> list[tuple[Keys, Mapping[str, Any]]]:
        return [
            (("axes", name, index), {**self._start, name: value})
            for name, values in self.axes.items()
            for index, value in enumerate(values)
        ]

    def _together(self) -> Iterator[tuple[Keys, Mapping[str, Any]]]:
        """The combinations of values of axes (and listed points) that might not go together, the last axis to blame."""
        for group in TOGETHER:
            names = [name for name in self.axes if _in(name, group)]
            listed = [point for point in self.listed if any(_in(name, group) for name in point)]
            if len(names) + bool(listed) > 1:
                for point, *values in itertools.product(listed or [self._start], *(self.axes[name] for name in names)):
                    yield ("axes", names[-1]), {**point, **dict(zip(names, values, strict=True))}

    def _places(self, at: SourceLines, values: Mapping[str, Any]) -> Mapping[str, Keys]:
        """Where each option of the first point stands, to blame the one that an error is about."""
        places = {path: at.find("run", path) for path in self.base}
        places |= {path: (*at.find("axes", path), 0) for path in self.axes}
        return {path: keys for path, keys in places.items() if path in values}


def _in(path: str, group: tuple[str, ...]) -> bool:
    return any(path == one or path.startswith(f"{one}.") for one in group)


def _check_sections(at: SourceLines, values: Any) -> None:
    with at(()):
        if not isinstance(values, Mapping):
            expected = f"a mapping with keys from {', '.join(SECTIONS)}"
            raise InputError("the study", "is empty" if values is None else "", found=values, expected=expected)
    for key in values:
        with at((key,)):
            if key not in SECTIONS:
                raise unknown("section", str(key), SECTIONS)


def _plain(at: SourceLines, values: Mapping[str, Any], name: str, default: Any, kind: Any) -> Any:
    """The plain value of a section."""
    with at((name,)):
        return fitted(values.get(name, default), kind, name)


def _requests(at: SourceLines, values: Mapping[str, Any]) -> bool | tuple[str, ...]:
    """Whether requests are kept, or which columns of them."""
    asked = _plain(at, values, "requests", False, bool | tuple[str, ...])
    with at(("requests",)):
        for name in () if isinstance(asked, bool) else asked:
            if name not in COLUMNS:
                raise unknown("column of requests.parquet", name, COLUMNS)
    return asked  # type: ignore[no-any-return]


def _mapping(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    given = values.get(name) or {}
    if not isinstance(given, Mapping):
        raise InputError(name, found=given, expected="a mapping of options")
    return given


def _axes(at: SourceLines, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is given for each axis, by its name."""
    with at(("axes",)):
        axes = _mapping(values, "axes")
    for name in axes:
        with at(("axes", name)):
            if not is_option(axis_path(str(name))):
                flat({str(name): None})  # says which options there are
            if name != axis_path(name) and axis_path(name) in axes:
                raise InputError(axis_path(name), "is given twice")
    return axes


def _axis(at: SourceLines, name: str, given: Any) -> tuple[Any, ...]:
    """The values of an axis: a list, or {from, to, step} with the end included (for windows: their edges)."""
    with at(("axes", name)):
        values = values_of_range(name, given) if isinstance(given, Mapping) else given
        if not isinstance(values, list) or not values:
            raise InputError(name, found=given, expected="a list of values, or {from: FIRST, to: LAST, step: STEP}")
        return tuple(policy_text(value) if name == "policy" else value for value in values)


def _policies_as_text(values: dict[str, Any]) -> dict[str, Any]:
    """The same options, the policy as text if it is an object."""
    return {name: policy_text(value) if name == "policy" else value for name, value in values.items()}


def _check_once(
    at: SourceLines, base: Mapping[str, Any], listed: list[tuple[int, Mapping[str, Any]]], axes: Mapping[str, Any]
) -> None:
    """InputError if what an axis varies is also given for all runs, but for a config of a run, or for a point."""
    given: list[tuple[Keys, str]] = [] if PINNED in base else [(at.find("run", path), path) for path in base]
    given += [(("points", place), path) for place, point in listed for path in point]
    for keys, path in given:
        if path in axes:
            with at(keys):
                raise InputError(path, "is an axis too", expected="it once")


def _check_size(points: int) -> None:
    if points > MOST_VALUES:
        raise InputError("", f"has {points:,} points", expected=f"<= {MOST_VALUES:,}")


def _listed(at: SourceLines, given: Any) -> list[tuple[int, Mapping[str, Any]]]:
    """Each listed point with its place in the list; one with ranges makes a point of each of their combinations."""
    with at(("points",)):
        if not (given is None or isinstance(given, list)):
            raise InputError("points", found=given, expected="a list of points")
    listed: list[tuple[int, Mapping[str, Any]]] = []
    for place, point in enumerate(given or ()):
        with at(("points", place)):
            if not isinstance(point, Mapping):
                raise InputError("points", found=point, expected="a mapping of options")
            mappings = {name: value for name, value in point.items() if is_option(name) and isinstance(value, Mapping)}
            ranges = {name: values_of_range(name, value) for name, value in mappings.items() if set(RANGE) & set(value)}
            _check_size(len(listed) + math.prod(map(len, ranges.values())))
            for values in itertools.product(*ranges.values()):
                listed.append((place, _policies_as_text(flat({**point, **dict(zip(ranges, values, strict=True))}))))
    return listed


def _search(at: SourceLines, given: Any) -> Search:
    with at(("capacity",)):
        if not isinstance(given, Mapping):
            raise InputError("capacity", found=given, expected="a mapping such as {target: 0.9}")
        return build(Search, given)
