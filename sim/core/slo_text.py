"""SLO mixes as users write them, as plain values: pairs of text, and YAML files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from flowsim.errors import InputError
from flowsim.io.documents import UniqueKeys


def pairs(text: str) -> dict[str, float]:
    """Seconds by class of text such as "text=0.25,*=4"; InputError for a pair that is none, or is there twice."""
    slos: dict[str, float] = {}
    for pair in text.split(","):
        key, _, value = (part.strip() for part in pair.partition("="))
        try:
            seconds = float(value)
        except ValueError:
            raise InputError(f"SLO mix {text!r}: {pair.strip()!r}; allowed: class=seconds") from None
        if not key or key in slos:
            raise InputError(f"SLO mix {text!r}: class {key!r} is {'empty' if not key else 'given twice'}")
        slos[key] = seconds
    return slos


def mapping(path: Path) -> Mapping[str, Any]:
    """What a YAML file holds; InputError when it cannot be read, is no mapping, or has a key twice."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=UniqueKeys)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; allowed: a YAML file with an SLO mix") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    except InputError as error:
        raise InputError(f"{path}, {error}") from None
    if not isinstance(values, Mapping):
        raise InputError(f"{path}: found {type(values).__name__}; allowed: a mapping with ttft_s: {{class: s}}")
    return values
