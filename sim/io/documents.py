"""The reader of YAML and JSON: keys are text and unique, and what is wrong is said in one line with the file's name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from msgspec import Struct

from flowsim.errors import InputError
from flowsim.io.folders import check_ends

Form = Literal["YAML", "JSON"]
Keys = tuple[str | int, ...]
"""Where a part of a document is: keys of mappings and indices of lists, outermost first."""

MERGE = "tag:yaml.org,2002:merge"
TEXT = "tag:yaml.org,2002:str"
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
MOST_VALUES = 1_000_000
"""Values of a YAML document, with those that aliases repeat."""


class Document(Struct, frozen=True):
    """What a YAML document holds, and where.

    Attributes:
        values: the plain values.
        lines: the line, from 1, of every part of it, by its keys.
    """

    values: Any
    lines: Mapping[Keys, int]


def read(path: str | Path, expected: str = "") -> Any:
    """The plain values of a file: JSON if its name ends in .json, else YAML.

    Args:
        path: the file.
        expected: what it should hold, for the error: "a YAML file with a study".

    Raises:
        InputError: the file cannot be read or parsed; its text begins with the path.
    """
    return parse(_text(path, expected), str(path), "JSON" if str(path).endswith(".json") else "YAML")


def mapping(path: str | Path, expected: str = "a mapping") -> dict[str, Any]:
    """The mapping that a file holds. InputError as `read` raises it; also if it holds something else."""
    values = read(path, expected)
    if not isinstance(values, dict):
        raise InputError(str(path), found=values, expected=expected)
    return values


def parse(text: str, where: str, form: Form = "YAML") -> Any:
    """The plain values of a text in this form. InputError, which begins with `where`, if it is not one.

    Every key of a mapping is the text that was written: `1024: 0.5` has the key "1024".
    """
    if form == "JSON":
        try:
            return json.loads(text, object_pairs_hook=unique_pairs)
        except InputError as error:
            raise error.within(where) from None
        except (ValueError, RecursionError) as error:
            raise _not_a(form, where, error) from error
    return _yaml(text, where)[1]


def located(path: str | Path, expected: str = "") -> Document:
    """A YAML file's values and the lines of its parts. InputError as `read` raises it; also for a part of itself."""
    node, values = _yaml(_text(path, expected), str(path))
    return Document(values, dict(_lines(node)))


class UniqueKeys(yaml.SafeLoader):
    """A loader whose keys are text; it raises InputError for a repeated key, of which PyYAML keeps the last.

    10:20 is text to it, as in YAML 1.2, and not 620, as numbers of base 60 are in YAML 1.1.
    """

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        """The tag of a value that has none."""
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        return TEXT if tag in NUMBERS and ":" in value else tag

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The mapping that follows."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            place = f"line {key.start_mark.line + 1}"
            if not isinstance(key, yaml.ScalarNode):
                raise InputError(place, "a key must be text, not a list or a mapping")
            if key.value in seen:
                raise InputError(place, f"the key {key.value!r} is repeated")
            seen.add(key.value)
            key.tag = key.tag if key.tag == MERGE else TEXT
        return node


def unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping of JSON, as an `object_pairs_hook`. InputError for a repeated key."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InputError("", f"the key {twice!r} is repeated")
    return found


def _text(path: str | Path, expected: str) -> str:
    check_ends(path, expected)
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error.strerror}", expected=expected) from error
    except UnicodeDecodeError as error:
        raise InputError(str(path), f"is not text in UTF-8: {error}", expected=expected) from error


def _yaml(text: str, where: str) -> tuple[yaml.Node | None, Any]:
    try:
        loader = UniqueKeys(text)
        node = loader.get_single_node()
        _values(node, {})
        return node, None if node is None else loader.construct_document(node)
    except InputError as error:
        raise error.within(where) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _not_a("YAML", where, error) from error
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:  # !!int '', !!bool x, !!timestamp x
        raise InputError(where, "is not YAML: a value is none of the type that its tag (!!int) names") from error


def _values(node: yaml.Node | None, known: dict[int, int]) -> int:
    """How many values a node stands for, those of an alias counted each time.

    Raises:
        InputError: more than MOST_VALUES, or without end.
    """
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if known.get(id(node)) == 0:
        raise InputError("", "contains itself (a YAML anchor that refers to itself)")
    if id(node) not in known:
        known[id(node)] = 0  # until it is known
        inner = (one for part in node.value for one in (part if isinstance(part, tuple) else (part,)))
        known[id(node)] = 1 + sum(_values(one, known) for one in inner)
    if known[id(node)] > MOST_VALUES:
        place = f"line {node.start_mark.line + 1}"
        raise InputError(place, f"holds more than {MOST_VALUES:,} values, with those that aliases (*NAME) repeat")
    return known[id(node)]


def _not_a(form: Form, where: str, error: Exception) -> InputError:
    if isinstance(error, RecursionError):
        return InputError(where, f"is not {form} that can be read: it is nested too deep")
    mark = getattr(error, "problem_mark", None)
    if isinstance(error, yaml.MarkedYAMLError) and mark is not None:
        parts = [part for part in (error.context, error.problem) if part]
        return InputError(f"{where}: line {mark.line + 1}", f"is not {form}: {', '.join(parts)}")
    return InputError(where, f"is not {form}: {' '.join(str(error).split())}")


def _lines(node: yaml.Node | None, keys: Keys = ()) -> Iterator[tuple[Keys, int]]:
    """The line of every part, by its keys; that of a mapping's entry is its key's."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _lines(value, (*keys, key.value))
            yield (*keys, key.value), key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*keys, index), value.start_mark.line + 1
            yield from _lines(value, (*keys, index))
