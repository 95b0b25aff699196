"""The options that structs declare, read from the types of their fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from flowsim.io.schema import alternatives, hints


class Option(Struct, frozen=True):
    """One option of a run.

    Attributes:
        path: where it is in `RunOptions`: "server.slots".
        keyword: its name as an argument of `flowsim.run`: "slots".
        flag: its name on the command line: "--slots"; "" if it has none there.
        type: its type, with bounds.
        default: its value unless given.
        help: what it is for.
        metavar: what stands for its value on the command line.
        default_text: the default in words, where the value does not say it.
        file: whether a text may be the name of a file or folder.
    """

    path: str
    keyword: str
    flag: str
    type: Any
    default: Any
    help: str
    metavar: str
    default_text: str
    file: bool

    @property
    def names(self) -> tuple[str, str, str]:
        """Its path, its field's name and its keyword."""
        return self.path, self.path.rpartition(".")[2], self.keyword

    @property
    def entries(self) -> bool:
        """Whether its value may be a mapping to numbers, whose entries have paths of their own: workload.mix.text."""
        return any(get_origin(kind) is Mapping and get_args(kind)[1] is not Any for kind in alternatives(self.type))

    @property
    def several(self) -> bool:
        """Whether its value is a list and nothing else."""
        (kind, *others) = alternatives(self.type)
        return get_origin(kind) is Sequence and not others

    @property
    def number(self) -> type[int] | type[float] | None:
        """The type of its value, or of each in its list, if that is a number and nothing else."""
        (kind, *others) = alternatives(get_args(alternatives(self.type)[0])[0] if self.several else self.type)
        return kind if kind in (int, float) and not others else None


def declared(kind: type[Struct], prefix: str = "") -> Iterator[Option]:
    """The options that a struct and the structs in it declare; `prefix` is before their paths."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(kind)}
    for name, hint in hints(kind).items():
        if isinstance(hint, type) and issubclass(hint, Struct):
            yield from declared(hint, f"{prefix}{name}.")
            continue
        metadata = getattr(hint, "__metadata__", ())
        about = next((meta for meta in metadata if isinstance(meta, Meta) and meta.description), None)
        if about is None:
            continue
        extra = about.extra or {}
        keyword = extra["keyword"] or name
        flag = extra["flag"]
        flag = f"--{keyword.replace('_', '-')}" if flag == "" else flag or ""
        yield Option(
            f"{prefix}{name}", keyword, flag, hint, defaults[name], about.description or "", extra["metavar"],
            extra["default"], extra["file"],
        )  # fmt: skip
