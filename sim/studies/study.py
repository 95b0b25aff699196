"""A study: the points of a grid or a list, read from YAML and checked before the first run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from flowsim.errors import InputError, unknown
from flowsim.studies.point import Point, check
from flowsim.studies.search import Search, check_length

SECTIONS = ("title", "run", "axes", "points", "capacity", "requests")
RANGE = ("from", "to", "step")
MOST_VALUES = 1_000_000
Path_ = tuple[str | int, ...]
T = TypeVar("T")
TOGETHER = (
    ("policy",),
    ("trace", "format", "window", "limit", "new_tokens", "prefix_cache", "mix", "slo"),
    ("model", "gpu", "tp", "cost"),
    ("model", "slo"),
)
"""Options that may be right one by one and wrong together; axes of the same kind are checked in all combinations."""


@dataclass(frozen=True)
class Study:
    """What `flowsim.studies.sweep` runs: `points` (if any) crossed with the grid of `axes`, on top of `base`.

    Attributes:
        base: options that all points share (section "run" of the YAML form).
        axes: values by option; the last axis moves fastest.
        listed: points listed one by one (section "points"), those with ranges written out.
        places: of each listed point its place in that section.
        search: when set, each point is a search for its highest rate.
        requests: keep a row a request of every run, besides the row a run.
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
    requests: bool = False
    title: str = ""
    root: str = "."
    lines: Mapping[Path_, int] = field(default_factory=dict)
    source: str = "study"

    @classmethod
    def of(cls, values: Any, *, root: str | Path = ".", source: str = "study", lines: Any = None) -> Study:
        """The study of plain values: a mapping of sections. InputError says which part is wrong."""
        at = _Place(source, lines or {})
        _check_sections(at, values)
        base, axes = (_mapping(at, values, name) for name in ("run", "axes"))
        listed = _listed(at, values.get("points"))
        return cls(
            base,
            {name: _axis(at, name, given) for name, given in axes.items()},
            tuple(point for _, point in listed),
            tuple(place for place, _ in listed),
            _search(at, values["capacity"]) if "capacity" in values else None,
            _plain(at, values, "requests", False, "true or false"),
            _plain(at, values, "title", "", "a text"),
            str(Path(root).resolve()),
            lines or {},
            source,
        )

    @classmethod
    def read(cls, path: str | Path) -> Study:
        """The study in a YAML file; the files that it names are looked up in its folder."""
        try:
            text = Path(path).read_text(encoding="utf-8")
            values, node = yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}, allowed is a YAML file with a study") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
        lines: dict[Path_, int] = {}
        try:
            for part, line in _lines(node):
                if part in lines:
                    raise InputError(f"{path}, line {line}: {part[-1]} is there already, in line {lines[part]}")
                lines[part] = line
        except RecursionError:
            raise InputError(f"{path}: a part contains itself, allowed is a study that ends") from None
        return cls.of(values, root=Path(path).parent, source=str(path), lines=lines)

    def __len__(self) -> int:
        return max(len(self.listed), 1) * math.prod(map(len, self.axes.values()))

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
        return list(dict.fromkeys(Point.of(self.point(place)).spec for place in range(len(self))))

    def check(self) -> None:
        """Check every value of every axis and every listed point, without running one.

        Raises:
            InputError: source, line, axis, and what a run would reject.
        """
        at = _Place(self.source, self.lines)
        first = {name: values[0] for name, values in self.axes.items()}
        for path, extra in [*self._listed_paths(), *self._axis_paths(), *self._together()]:
            values = {**self.base, **(self.listed[0] if self.listed else {}), **first, **extra}
            with at(path, self._culprit(values)):
                given = [name for name in ("rate_rps", "rate_scale") if self.search and name in values]
                if given:
                    raise InputError(f"{given[0]} is given, but a study with capacity finds the rate itself")
                point = Point.of(values)
                if path[:2] != ("axes", "seed"):  # any seed will do, and there may be thousands
                    check(point, self.root)
                    if self.search:
                        check_length(point, self.root)

    def _listed_paths(self) -> list[tuple[Path_, Mapping[str, Any]]]:
        """The first point of all, then each listed one."""
        return [((), {}), *((("points", place), point) for place, point in zip(self.places, self.listed, strict=True))]

    def _axis_paths(self) -> list[tuple[Path_, Mapping[str, Any]]]:
        return [
            (("axes", name, index), {name: value})
            for name, values in self.axes.items()
            for index, value in enumerate(values)
        ]

    def _together(self) -> Iterator[tuple[Path_, Mapping[str, Any]]]:
        """The combinations of values of axes (and listed points) that might not go together, the last axis to blame."""
        for group in TOGETHER:
            names = [name for name in self.axes if name.partition(".")[0] in group]
            listed = [point for point in self.listed if any(name.partition(".")[0] in group for name in point)]
            if len(names) + bool(listed) > 1:
                for point, *values in itertools.product(listed or [{}], *(self.axes[name] for name in names)):
                    yield ("axes", names[-1]), {**point, **dict(zip(names, values, strict=True))}

    def _culprit(self, values: Mapping[str, Any]) -> Mapping[str, tuple[Path_, Any]]:
        """Where each option of the first point stands, and its value if text: to blame the one that an error names."""
        places: dict[str, Path_] = {name: ("run", name) for name in self.base}
        places |= {name: ("axes", name, 0) for name in self.axes}
        texts = {name: value for name, value in values.items() if isinstance(value, str)}
        return {name: (path, texts.get(name)) for name, path in places.items() if name in values}


class _Place:
    """Puts the source and the line of a part of a study before the errors about it."""

    def __init__(self, source: str, lines: Mapping[Path_, int]) -> None:
        self._source = source
        self._lines = lines

    @contextmanager
    def __call__(self, path: Path_, blame: Mapping[str, tuple[Path_, Any]] | None = None) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            raise InputError(f"{self.say(path or _named(blame or {}, str(error)))}: {error}") from error

    def say(self, path: Path_) -> str:
        """Source, line and name of a part."""
        known = next((path[:n] for n in range(len(path), -1, -1) if path[:n] in self._lines), None)
        line = f", line {self._lines[known]}" if known is not None else ""
        name = " ".join(str(part) if isinstance(part, str) else f"#{part + 1}" for part in path)
        return f"{self._source}{line}{f', {name}' if name else ''}"


def _named(blame: Mapping[str, tuple[Path_, Any]], text: str) -> Path_:
    """Where the option stands that an error names: one with a dot, else the first; else one whose value it names.

    The whole study if there is none.
    """
    found = [("." not in name, text.find(name.rpartition(".")[2]), path) for name, (path, _) in blame.items()]
    found += [(True, len(text) + text.find(value), path) for path, value in blame.values() if value and value in text]
    return min((place for place in found if place[1] >= 0), default=(True, 0, ()))[2]


def _check_sections(at: _Place, values: Any) -> None:
    with at(()):
        if not isinstance(values, Mapping):
            found = "nothing" if values is None else repr(values)
            raise InputError(f"found {found}, allowed is a mapping of {', '.join(SECTIONS)}")
    for key in values:
        with at((key,)):
            if key not in SECTIONS:
                raise unknown("section", str(key), SECTIONS)


def _plain(at: _Place, values: Mapping[str, Any], name: str, default: T, allowed: str) -> T:
    """The plain value of a section, of the kind of its default."""
    with at((name,)):
        value = values.get(name, default)
        if not isinstance(value, type(default)):
            raise InputError(f"found {value!r}, allowed is {allowed}")
        return value


def _mapping(at: _Place, values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    given = values.get(name) or {}
    with at((name,)):
        if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
            raise InputError(f"found {type(given).__name__}, allowed is a mapping of options")
    return given


def _axis(at: _Place, name: str, given: Any) -> tuple[Any, ...]:
    """The values of an axis: a list, or {from, to, step} with the end included (for windows: their edges)."""
    with at(("axes", name)):
        values = _range(name, given) if isinstance(given, Mapping) else given
        if not isinstance(values, list) or not values:
            raise InputError("allowed is a list of values, or {from: FIRST, to: LAST, step: STEP}")
        return tuple(values)


def _range(name: str, given: Mapping[str, Any]) -> list[Any]:
    for key in given:
        if key not in RANGE:
            raise unknown("key of a range", str(key), RANGE)
    first, last, step = (given.get(key, 1 if key == "step" else None) for key in RANGE)
    numbers = [x for x in (first, last, step) if isinstance(x, int | float) and not isinstance(x, bool)]
    if len(numbers) < 3 or not (step > 0 and first < last):
        raise InputError("allowed is {from: FIRST, to: LAST, step: STEP} with numbers that rise")
    steps = (last - first) / step + 1e-9
    if not steps < MOST_VALUES:
        raise InputError(f"{steps:,.0f} values, allowed is {MOST_VALUES:,} at most")
    values = [first + step * k for k in range(int(steps) + 1)]
    if not all(isinstance(x, int) for x in numbers):
        values = [round(value, 12) for value in values]
    return [list(pair) for pair in itertools.pairwise(values)] if name == "window" else values


def _listed(at: _Place, given: Any) -> list[tuple[int, Mapping[str, Any]]]:
    """Each listed point with its place in the list; one with ranges makes a point of each of their combinations."""
    with at(("points",)):
        if not (given is None or isinstance(given, list)):
            raise InputError(f"found {type(given).__name__}, allowed is a list of points")
    listed: list[tuple[int, Mapping[str, Any]]] = []
    for place, point in enumerate(given or ()):
        with at(("points", place)):
            if not isinstance(point, Mapping):
                raise InputError(f"found {point!r}, allowed is a mapping of options")
            ranges = {name: _range(name, value) for name, value in point.items() if isinstance(value, Mapping)}
        for values in itertools.product(*ranges.values()):
            listed.append((place, {**point, **dict(zip(ranges, values, strict=True))}))
    return listed


def _search(at: _Place, given: Any) -> Search:
    with at(("capacity",)):
        if not isinstance(given, Mapping):
            found = "nothing" if given is None else repr(given)
            raise InputError(f"found {found}, allowed is a mapping such as {{target: 0.9, by: all}}")
        for key in given:
            if key not in (names := tuple(Search.__dataclass_fields__)):
                raise unknown("key", str(key), names)
        return Search(**given)


def _lines(node: yaml.Node | None, path: Path_ = ()) -> Iterator[tuple[Path_, int]]:
    """The line, from 1, of every part of a YAML document, by its path."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, key.value), key.start_mark.line + 1
            for part, line in _lines(value, (*path, key.value)):
                if part != (*path, key.value):
                    yield part, line
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, index), value.start_mark.line + 1
            yield from _lines(value, (*path, index))
