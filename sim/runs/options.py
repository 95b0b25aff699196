"""The options of a run: their one declaration, of which all else that knows them is made.

`RunOptions` gives each option its type, bounds, default and help. The options of the command line, the keywords of
`flowsim.run`, the axes of a study, config.yaml, the key of a stored run and the reference all follow from it.
An option has a dotted path ("server.slots") and a keyword ("slots").
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from flowsim.core.server import ServerOptions
from flowsim.errors import InputError, unknown
from flowsim.io.notebook import facts_html
from flowsim.io.pairs import numbers_by_name
from flowsim.io.schema import Checked, Count, Name, Positive, PositiveCount, build, hints, option
from flowsim.policies.registry import PolicySpec, with_option
from flowsim.runs.declaration import Option, declared
from flowsim.runs.slos import SLOOptions, is_by_class, mix_text
from flowsim.runs.workload import WorkloadOptions, blamed, digits, window_text

MODEL, GPU = "llama3-8b", "h200"
Share = Annotated[float, Meta(ge=0, lt=1)]


class RunOptions(Checked, frozen=True):
    """All that determines a run.

    A policy may be given as text, and the SLOs alone in place of `SLOOptions`. Not hashable, as it holds mappings.

    Attributes:
        pinned: no option: what the run was made of when its config.yaml was written (`flowsim.runs.pins`).
    """

    trace: Annotated[Name, option("A trace file, 'example', or 'synthetic:PRESET:N'.", "TRACE", file=True)]
    policy: Annotated[PolicySpec, option("See flowsim policies.", "SPEC")] = PolicySpec("flowprefill")
    cost: Annotated[Name | None, option("Operator table of your own (from flowsim calibrate).", "DIR", file=True)] = (
        None
    )
    model: Annotated[Name, option("Model whose costs and SLOs are used.", "NAME")] = MODEL
    gpu: Annotated[Name, option("GPU on which the costs were measured.", "NAME")] = GPU
    tp: Annotated[PositiveCount, option("Tensor-parallel degree.")] = 1
    correct: Annotated[
        bool, option("Multiply an imported table by how many times as long prompts took where both were measured.")
    ] = False
    workload: WorkloadOptions = WorkloadOptions()
    slo: SLOOptions = SLOOptions()
    predictor: Annotated[
        Name,
        option(
            "What the policy believes of the cost: exact, cubic (the paper's; too low beyond 20,480 tokens), "
            "biased:FACTOR, noisy:SIGMA.",
            "NAME",
        ),
    ] = "cubic"
    server: ServerOptions = ServerOptions()
    seed: Annotated[Count, option("Seed of all randomness.")] = 0
    until_s: Annotated[Positive | None, option("Stop S seconds after the first arrival.", "S", flag="--until")] = None
    warmup: Annotated[Share, option("Share of the requests, the first, that are left out of the figures.")] = 0.0
    bound: Annotated[
        bool | None,
        option(
            "State the clairvoyant bound (see flowsim bound), which no policy exceeds.",
            default="for up to 20,000 requests; not in a study",
        ),
    ] = None
    pinned: Mapping[str, Name] = {}

    def __post_init__(self) -> None:
        given: Any = self.policy
        if isinstance(given, str):
            msgspec.structs.force_setattr(self, "policy", PolicySpec.parse(given))
        given = self.slo
        if not (isinstance(given, SLOOptions) or _is_slo_section(given)):
            msgspec.structs.force_setattr(self, "slo", {"mix": given})
        super().__post_init__()
        if self.until_s is not None and self.workload.concurrency is not None:
            raise InputError(
                "until_s", "is given together with concurrency", expected="one of them; a limit in its place"
            )

    def _repr_html_(self) -> str:
        changed = [
            (path, str(value))
            for path, value in columns(self).items()
            if path not in ("trace", "policy") and (path not in options() or value != options()[path].default)
        ]
        return facts_html(f"{self.policy} on {self.trace}", changed, "" if changed else ", all else by default")


PINNED = "pinned"
MAIN: Mapping[str, str] = {"slo": "mix"}
"""The field that a section stands for where it is given as a plain value: `slo: 0.5`."""


@cache
def options() -> Mapping[str, Option]:
    """Every option of a run by its path, in the order of the declaration."""
    return {one.path: one for one in declared(RunOptions)}


@cache
def files() -> tuple[str, ...]:
    """The paths of the options that may name a file or folder."""
    return tuple(path for path, one in options().items() if one.file)


@cache
def by_keyword() -> Mapping[str, Option]:
    """Every option of a run by its keyword."""
    return {one.keyword: one for one in options().values()}


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options in a mapping of sections or dotted paths, or both, by path.

    A section given as a plain value means its main field: `slo: 0.5` is slo.mix. Options of the policy are
    policy.OPTION, and entries of a mapping workload.mix.CLASS.

    Raises:
        InputError: an unknown option (it offers the nearest known path, also for a keyword, "slo_scale"), or one that
            is given twice.
    """
    found: dict[str, Any] = {}
    for path, value in values.items():
        if path in SECTIONS:
            given = flat({f"{path}.{name}": entry for name, entry in _section(path, value).items()})
        elif is_option(str(path)) or path == PINNED:
            given = {path: value}
        else:
            raise _unknown(str(path))
        for name in given:
            if name in found:
                raise InputError(name, "is given twice")
        found |= given
    return found


def is_option(path: str) -> bool:
    """Whether this is the path of an option, of an option of the policy, or of an entry of a mapping."""
    head = path.rpartition(".")[0]
    return path in options() or (path != head and bool(head) and (head == "policy" or head in MAPPINGS))


def from_values(values: Mapping[str, Any]) -> RunOptions:
    """The options in plain values, as YAML holds them, in sections or by dotted path: see `flat`.

    Raises:
        InputError: an unknown option or a value that does not fit, with the dotted path of the option.
    """
    try:
        return build(RunOptions, _nested(flat(values)))
    except InputError as error:
        error.option = error.option or error.where
        raise


def to_values(run: RunOptions) -> dict[str, Any]:
    """The plain values, in sections, from which `from_values` makes these options again."""
    return {**msgspec.to_builtins(run), "policy": str(run.policy)}


def columns(run: RunOptions) -> dict[str, Any]:
    """Every option as a plain value by path, of mappings the entries; the policy is its whole specification."""
    row: dict[str, Any] = {}
    for path in options():
        value = value_of(run, path)
        if path == "slo.mix":
            value = _label(value)
        if path in MAPPINGS:
            row |= {f"{path}.{name}": entry for name, entry in _entries(path, value).items()}
        else:
            row[path] = _plain(value)
    return row


def _label(mix: Any) -> Any:
    """An SLO mix as a plain value that means the same, short enough to stand on an axis."""
    if isinstance(mix, float):
        return digits(mix)
    return mix_text(mix) if isinstance(mix, Mapping) and is_by_class(mix) else mix


def _is_slo_section(value: Any) -> bool:
    """Whether this is a mapping of the fields of `SLOOptions`, not of SLOs by class or of the fields of a mix."""
    return isinstance(value, Mapping) and (
        not value or any(name.partition(".")[0] in hints(SLOOptions) for name in value)
    )


def _unknown(name: str) -> InputError:
    keywords = by_keyword()
    if near := difflib.get_close_matches(name, keywords, n=1, cutoff=0.75):
        return InputError("", f"unknown option {name!r}; did you mean {keywords[near[0]].path!r}?", found=name)
    return unknown("option", name, [*options(), "policy.OPTION", *(f"{path}.CLASS" for path in MAPPINGS)])


def _section(name: str, value: Any) -> Mapping[str, Any]:
    """What a section gives, by field: of a struct the fields that differ from their defaults."""
    if value is None:
        return {}
    if isinstance(value, Struct):
        defaults = {field.name: field.default for field in msgspec.structs.fields(value)}
        return {field: given for field, given in msgspec.structs.asdict(value).items() if given != defaults[field]}
    if isinstance(value, Mapping) and (name not in MAIN or _is_slo_section(value)):
        return value
    if name in MAIN:
        return {MAIN[name]: value}
    names = [path.removeprefix(f"{name}.") for path in options() if path.startswith(f"{name}.")]
    raise InputError(name, found=value, expected=f"a mapping of {', '.join(names)}")


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of options by path; an entry of a mapping or of the policy joins what is given as a whole."""
    tree: dict[str, Any] = {}
    for path in sorted(values, key=lambda path: path.count(".")):
        section, _, name = path.partition(".")
        value = values[path]
        if path == "policy":
            if not isinstance(value, str | PolicySpec | Mapping):
                expected = "text such as 'edf', or a mapping of name and options"
                raise InputError("policy", found=value, expected=expected)
            with blamed("policy"):
                tree["policy"] = PolicySpec.parse(value) if isinstance(value, str) else value
        elif section == "policy":
            spec = build(PolicySpec, tree.get("policy", options()["policy"].default), "policy")
            tree["policy"] = with_option(spec, name, value)
        elif not name:
            tree[path] = value
        else:
            name, _, entry = name.partition(".")
            place = tree.setdefault(section, {})
            place[name] = {**_entries(name, place.get(name)), entry: value} if entry else value
    return tree


def _entries(name: str, value: Any) -> Mapping[str, Any]:
    return numbers_by_name(value, name, "CLASS=SHARE pairs") if isinstance(value, str) else value or {}


def value_of(run: RunOptions, path: str) -> Any:
    """The value of the option of this path."""
    value: Any = run
    for name in path.split("."):
        value = getattr(value, name)
    return value


def with_values(run: RunOptions, values: Mapping[str, Any]) -> RunOptions:
    """These options with other values of some, by path."""
    for path, value in values.items():
        run = _replaced(run, path, value)
    return run


def _replaced(struct: Any, path: str, value: Any) -> Any:
    name, _, rest = path.partition(".")
    return msgspec.structs.replace(struct, **{name: _replaced(getattr(struct, name), rest, value) if rest else value})


def _plain(value: Any) -> Any:
    """A value of an option as one plain value."""
    if isinstance(value, PolicySpec):
        return str(value)
    if isinstance(value, tuple):
        return window_text((value[0], value[1]))
    if isinstance(value, Mapping):
        return msgspec.json.encode(value).decode()
    return value


SECTIONS = tuple(name for name, hint in hints(RunOptions).items() if isinstance(hint, type))
MAPPINGS = tuple(path for path, one in options().items() if one.entries)
"""The options whose entries have paths of their own: workload.mix.text."""
