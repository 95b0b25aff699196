"""What flowsim says when its input is wrong: one line, and the nearest name when a name is unknown."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable
from pathlib import Path


class InputError(ValueError):
    """Something the user gave is wrong. The message is one line: where, what was found, what is allowed.

    The command line prints it after ``flowsim: error:`` and exits with 2.
    """


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a `name` that is none of the `known` names of this `kind` ("policy", "option", ...).

    The message offers the nearest known name, if one is near, and lists them all.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return InputError(f"unknown {kind} {name!r}{hint} (known: {', '.join(names) or 'none'})")


def said(error: BaseException) -> str:
    """What an exception of somebody else's code says, and where it was raised: "KeyError: 'x' (mine.py, line 7)"."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})"
