"""What flowsim says when its input is wrong: one line, and the nearest name when a name is unknown."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Final

MOST_SHOWN = 80
"""Characters of a value that an error shows."""


class _Nothing:
    """The type of NOTHING."""

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = _Nothing()
"""Stands for a value that an error does not have."""


class InputError(ValueError):
    """Something the user gave is wrong.

    Its text is one line, made here and nowhere else, in one of two forms:

        InputError("seed", found=-1, expected=">= 0")              seed must be >= 0, got -1
        InputError("trace.jsonl", "is empty", expected="one request per line")
                                                                    trace.jsonl: is empty; expected one request per line

    The command line prints it after ``flowsim: error:`` and exits with 2.

    Args:
        where: the option, or the file, row and field, outermost first: "trace.jsonl: row 3: input_length".
        problem: what is wrong, if that is more than a value that is not what was expected.
        found: the value found.
        expected: what would be right, to be read after "must be".

    Attributes:
        option: the dotted path of the run's option that it is about, where that is known; not in the text.
    """

    def __init__(self, where: str, problem: str = "", *, found: object = NOTHING, expected: str = "") -> None:
        self.where = where
        self.problem = problem
        self.found = found
        self.expected = expected
        self.option = ""
        super().__init__(self._text())

    def within(self, place: str) -> InputError:
        """The same error, of something inside `place`."""
        where = f"{place}: {self.where}" if self.where else place
        error = type(self)(where, self.problem, found=self.found, expected=self.expected)
        error.option = self.option
        return error

    def __reduce__(self) -> tuple[object, ...]:
        """Errors travel between processes with their fields."""
        return _again, (type(self), self.where, self.problem, self.found, self.expected, self.option)

    def _text(self) -> str:
        if self.problem or self.found is NOTHING:
            said = ": ".join(part for part in (self.where, self.problem) if part)
            return f"{said}; expected {self.expected}" if self.expected else said
        return f"{self.where} must be {self.expected}, got {shown(self.found)}"


def _again(kind: type[InputError], where: str, problem: str, found: object, expected: str, option: str) -> InputError:
    error = kind(where, problem, found=NOTHING if isinstance(found, _Nothing) else found, expected=expected)
    error.option = option
    return error


def shown(value: object) -> str:
    """A value as an error shows it: what Python writes, shortened; nothing for None."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a `name` that is none of the `known` names of this `kind` ("policy", "option", ...).

    The message offers the nearest known name, if one is near, and lists them all.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return InputError("", f"unknown {kind} {name!r}{hint} (known: {', '.join(names) or 'none'})")


def raised(error: BaseException) -> str:
    """What an exception of somebody else's code says, and where it was raised: "KeyError: 'x' (mine.py, line 7)"."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})"
