"""What flowsim says when its input is wrong: one line, and the nearest name when a name is unknown."""

from __future__ import annotations

import copy
import difflib
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that a terminal obeys, but for the tabulator and the end of a line."""
MOST_NAMES = 60
"""Known names that an error lists; of more, only the nearest."""
NEAREST = 10
"""How many those are."""
MOST_SHOWN = 80
"""Characters of a value that an error shows."""
LIBRARIES: Final = {"flowsim", "numpy", *sys.stdlib_module_names}
"""Whose lines are not those of the user."""


class _Nothing:
    """The type of NOTHING."""

    def __repr__(self) -> str:
        return "NOTHING"

    def __reduce__(self) -> str:
        """There is one, in every process."""
        return "NOTHING"


NOTHING: Final = _Nothing()
"""Stands for a value that an error does not have."""


class InputError(ValueError):
    """Something the user gave is wrong.

    Its text is one line, made here and nowhere else, in one of three forms::

        InputError("seed", found=-1, expected=">= 0")              seed must be >= 0, got -1
        InputError("trace.jsonl", "is empty", expected="one request per line")
                                                                    trace.jsonl: is empty; expected one request per line
        unknown("policy", "fcfz", ["edf", "fcfs"], where="--policy")
                                    --policy: unknown policy 'fcfz'; did you mean 'fcfs'? (known: edf, fcfs)

    The command line prints it after ``flowsim: error:`` and exits with 2.

    Args:
        where: the option, or the file, row and field, outermost first: "trace.jsonl: row 3: input_length".
        problem: what is wrong, if that is more than a value that is not what was expected; of an unknown name, where
            such names are found.
        found: the value found.
        expected: what would be right, to be read after "must be".
        kind: of an unknown name, what it would be the name of: "policy".
        known: of an unknown name, the names that there are.

    Attributes:
        option: the dotted path of the run's option that it is about, where that is known; not in the text.
    """

    def __init__(
        self,
        where: str,
        problem: str = "",
        *,
        found: object = NOTHING,
        expected: str = "",
        kind: str = "",
        known: Iterable[str] = (),
    ) -> None:
        self.where = where
        self.problem = problem
        self.found = found
        self.expected = expected
        self.option = ""
        self.kind = kind
        self.known = tuple(sorted(set(known)))
        super().__init__()

    @property
    def near(self) -> str | None:
        """Of an unknown name, the known name that is nearest, whatever the case of its letters, if one is near."""
        return self.nearest(0.5)

    def nearest(self, likeness: float) -> str | None:
        """The known name that is nearest, if it is at least so much alike: 1 is equal but for the case of letters."""
        by_lower = {name.lower(): name for name in self.known}
        near = difflib.get_close_matches(text_of(self.found).lower(), by_lower, n=1, cutoff=likeness)
        return by_lower[near[0]] if near else None

    def at(self, where: str, *, expected: str = "") -> InputError:
        """The same error, about `where`; with what was expected said in other words, if they are given."""
        error = copy.copy(self)
        error.where, error.expected = where, expected or self.expected
        return error

    def within(self, place: str) -> InputError:
        """The same error, of something inside `place`."""
        return self.at(f"{place}: {self.where}" if self.where else place)

    def __reduce__(self) -> tuple[object, ...]:
        """Errors travel between processes with their fields."""
        return type(self), (self.where,), vars(self)

    def __str__(self) -> str:
        problem = self._unknown() if self.kind else self.problem
        if problem or self.found is NOTHING:
            said = ": ".join(part for part in (self.where, _folded(problem)) if part)
            return f"{said}; expected {self.expected}" if self.expected else said
        return f"{self.where} must be {self.expected}, got {shown(self.found)}"

    def _unknown(self) -> str:
        hint = f"; did you mean {self.near!r}?" if self.near else ""
        place = f" {self.problem}" if self.problem else ""
        names = ", ".join(self.known) or "none"
        if len(self.known) > MOST_NAMES:
            near = difflib.get_close_matches(str(self.found), self.known, n=NEAREST, cutoff=0)
            names = f"{', '.join(sorted(near))} and {len(self.known) - NEAREST} more"
        return f"unknown {self.kind} {text_of(self.found, repr)}{place}{hint} (known: {names})"


class InputWarning(UserWarning):
    """What the user gave may not be what was meant. The run goes on; the command line prints one line."""


class ChangedInputs(InputWarning):
    """What a config pins (a trace, a table, a policy, a version) is not what is found, or it pins nothing."""


class FailedRuns(UserWarning):
    """Some runs of a study failed: their figures are missing."""


def printable(text: str) -> str:
    """A text of which a terminal obeys nothing: what would control it becomes the replacement character."""
    return CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def shown(value: object) -> str:
    """A value as an error shows it: what Python writes, shortened, or the kind of object; nothing for None."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    text = "nothing" if value is None else text_of(value, repr)
    if "\n" in text or text.startswith("<"):
        kind = type(value).__name__
        text = f"{'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}"
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


def text_of(value: object, write: Callable[[object], str] = str) -> str:
    """What `str` or `repr` writes of a value, or, if its own code fails at that, what it is."""
    try:
        return write(value)
    except BaseException:  # whatever the user's class does
        return f"<{type(value).__name__}>"


def unknown(
    kind: str, name: str, known: Iterable[str], place: str = "", *, where: str = "", expected: str = ""
) -> InputError:
    """The error for a `name` that is none of the `known` names of this `kind` ("policy", "option", ...).

    The message offers the nearest known name, if one is near, and lists them all. `place` says where such names are
    found: "of policy edf".
    """
    return InputError(where, place, found=name, expected=expected, kind=kind, known=known)


def _folded(text: str) -> str:
    """A text of several lines, as other people's code writes them, in one."""
    return re.sub(r"\s*\n\s*", " ", text.strip())


def raised(error: BaseException) -> str:
    """What an exception of somebody else's code says, and where: "KeyError: 'x' (mine.py, line 7)".

    The line is the last one of theirs on the way to it, and not of flowsim, Python or NumPy; an InputError without any
    has no place.
    """
    places = [(_package(frame), _place(frame.f_code, line)) for frame, line in traceback.walk_tb(error.__traceback__)]
    theirs = [place for package, place in places if package not in LIBRARIES]
    if isinstance(error, InputError):
        return " ".join([str(error), *(f"({place})" for place in theirs[-1:])])
    _, place = places[-1]
    said = ": ".join(filter(None, (type(error).__name__, _folded(text_of(error)))))
    return f"{said} ({theirs[-1] if theirs else place})"


def defined_at(function: Callable[..., object]) -> str:
    """Where a function begins: "mine.py, line 7"; the name of its type if it is not written in Python."""
    code = getattr(function, "__code__", None)
    return type(function).__name__ if code is None else _place(code, code.co_firstlineno)


def _place(code: CodeType, line: int) -> str:
    return f"{Path(code.co_filename).name}, line {line}"


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
