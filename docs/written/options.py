"""The options of a run, from their declaration."""

from __future__ import annotations

from collections.abc import Iterator

from flowsim.runs.declaration import Option
from flowsim.runs.options import options


def reference() -> Iterator[str]:
    """One row per option."""
    yield "| study, `config.yaml` | command line | Python | default | meaning |"
    yield "|---|---|---|---|---|"
    for option in options().values():
        names = [f"`{name}`" if name else "" for name in (option.path, _flag(option), option.keyword)]
        yield f"| {' | '.join([*names, _default(option), option.help])} |"


def _flag(option: Option) -> str:
    """What stands for it on the command line; the trace is an argument."""
    off = f" / --no-{option.flag.removeprefix('--')}" if option.default is True else ""
    return "TRACE" if option.path == "trace" else f"{option.flag}{off}"


def _default(option: Option) -> str:
    if option.path == "trace":
        return ""
    if isinstance(option.default, bool):
        return "yes" if option.default else "no"
    return option.default_text or ("none" if option.default is None else f"`{option.default}`")
