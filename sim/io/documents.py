"""YAML and JSON in which no mapping has a key twice."""

from __future__ import annotations

from typing import Any

import yaml

from flowsim.errors import InputError


class UniqueKeys(yaml.SafeLoader):
    """A loader that raises InputError (the line and the key), where PyYAML takes the last without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The mapping that follows."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise InputError(f"line {key.start_mark.line + 1}: the key {key.value!r} is there twice; allowed: once")
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return node


def unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping of JSON, as an `object_pairs_hook`; InputError for a key that is there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InputError(f"the key {twice!r} is there twice; allowed: once")
    return found
