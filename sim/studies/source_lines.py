"""Where a part of a study stands, for errors: its source, its line and its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from flowsim.errors import InputError
from flowsim.io.documents import Keys
from flowsim.runs.options import MAIN


class SourceLines:
    """Puts the source and the line of a part of a study before the errors about it."""

    def __init__(self, source: str, lines: Mapping[Keys, int]) -> None:
        self._source = source
        self._lines = lines

    @contextmanager
    def __call__(self, keys: Keys, options: Mapping[str, Keys] | None = None) -> Iterator[None]:
        """Errors within are about the part at `keys`, or about one of these `options`, which stand at their keys."""
        try:
            yield
        except InputError as error:
            part = keys or _blamed(options or {}, error)
            place, named = self.say(part), error.where in part or error.where in map(axis_path, map(str, part))
            if not named:
                raise error.within(place) from error
            raise error.at(place) from error

    def find(self, section: str, path: str) -> Keys:
        """Where an option stands in a section: by its path, in nested sections, or as what a section stands for."""
        head, _, tail = path.partition(".")
        ways: list[Keys] = [(section, path), (section, *path.split("."))]
        ways += [(section, head)] if MAIN.get(head) == tail else []
        return next((keys for keys in ways if keys in self._lines), (section, path))

    def say(self, keys: Keys) -> str:
        """Source, line and name of a part."""
        if keys[:1] == ("axes",) and len(keys) > 1:
            keys = (*self.find("axes", str(keys[1])), *keys[2:])
        known = next((keys[:n] for n in range(len(keys), -1, -1) if keys[:n] in self._lines), None)
        name = " ".join(str(part) if isinstance(part, str) else f"#{part + 1}" for part in keys)
        parts = (self._source, f"line {self._lines[known]}" if known is not None else "", name)
        return ": ".join(part for part in parts if part)


def _blamed(options: Mapping[str, Keys], error: InputError) -> Keys:
    """Where the option stands that an error is about; the whole study if that is not known."""
    about = error.where if error.where in options else error.option or error.where
    within = [keys for path, keys in options.items() if path.startswith(f"{about}.")]
    return options.get(about) or (within[0] if within and about else options.get(about.rpartition(".")[0], ()))


def axis_path(name: str) -> str:
    """The path of an option of an axis: "slo" stands for "slo.mix"."""
    return f"{name}.{MAIN[name]}" if name in MAIN else name
