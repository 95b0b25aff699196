"""What an operator table says about itself: what was measured, on which machine, how, and the error of its fit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta, Struct
from msgspec.structs import asdict

from flowsim.calibration.costs.models import ModelSpec, check_table_name
from flowsim.errors import InputError
from flowsim.io.documents import mapping
from flowsim.io.schema import Checked, Count, Positive, PositiveCount, fitted, hints

SCHEMA_VERSION = 1
"""Of the folders that tables are saved as."""
Kind = Literal["measured", "imported", "modelled"]
"""Kinds of tables: timed by flowsim in place; public timings of kernels; scaled from a measured table."""


class SizeError(Struct, frozen=True):
    """The relative error at sizes left out of a fit: their number, and the median and largest absolute error."""

    sizes: Count
    median: float
    max: float


class PassError(Struct, frozen=True):
    """The relative error at whole passes: their number, and the median and largest absolute error."""

    passes: Count
    median: float
    max: float


SizeErrors = dict[str, SizeError]
"""By operator."""
PassErrors = dict[str, PassError]
"""By kind of pass (`flowsim.calibration.costs.pass_kinds`)."""


class PowerFit(Checked, frozen=True):
    """How much faster than sustained an idle GPU starts, as `flowsim.calibration.costs.power` models it.

    Attributes:
        window_s: seconds over which the utilisation of the GPU is averaged.
        threshold: utilisation up to which the GPU runs at full speed.
        gain: (tokens, gain), by ascending tokens; gain is sustained time over the time on an idle GPU, less 1.
    """

    window_s: Positive
    threshold: Annotated[float, Meta(ge=0, lt=1)]
    gain: list[tuple[PositiveCount, Annotated[float, Meta(gt=-1, lt=1)]]]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.gain or any(low >= high for (low, _), (high, _) in pairwise(self.gain)):
            raise InputError("gain", found=self.gain, expected="pairs of tokens, ascending, and a gain")

    def stated(self) -> dict[str, Any]:
        """As `provenance.yaml` states it."""
        return asdict(self) | {"gain": [list(pair) for pair in self.gain]}


class Collective(Struct, frozen=True, kw_only=True):
    """The all-reduces that were joined to the table of a tensor-parallel rank.

    Attributes:
        sha256: digest of their own table.
        source: public measurements that they come from; None if they were measured by flowsim.
        date: when they were measured.
    """

    sha256: str | None = None
    source: str | None = None
    date: str | None = None


class Rank(NamedTuple):
    """What a table's operators belong to: one tensor-parallel rank of a model, on a GPU with this much memory."""

    gpu: str
    model: str
    tp: int
    spec: ModelSpec
    memory_bytes: int

    @property
    def name(self) -> str:
        """As in h200/llama3-8b/tp1."""
        return f"{self.gpu}/{self.model}/tp{self.tp}"


class Provenance(Struct, frozen=True, kw_only=True):
    """The provenance of a table; a field is None where it is not stated.

    Attributes:
        stated: all that `provenance.yaml` says, in its order: what is shown, saved and hashed. It may hold more than
            the fields below, which are what is used.
        gpu: the catalogue's name of the GPU.
        model: the name of the model.
        tp: the tensor-parallel degree.
        model_spec: the shape of the whole model.
        memory_bytes: of the GPU.
        multiprocessors: of the GPU.
        gpu_id: the start of the GPU's UUID.
        pass_layers: layers of the model that whole passes and recorded forwards were measured on.
        passes_of: "group" if passes were measured on all ranks together.
        calls: the number of framework calls that launch each operator and attention kernel.
        boost: how much faster an idle GPU starts.
        leave_one_out: errors of operators at sizes left out one at a time.
        all_reduce: the all-reduces that were joined.
        width: of the activations, in a table of all-reduces alone.
        source: public measurements that the table was imported from.
        framework: the serving framework whose kernels those are.
        corrected: whether its device times were multiplied by how much longer measured prompts take.
        modelled_from: the measured table that this one was scaled from.
        modelled_error: errors of such tables at passes that were measured, or that imports stand for.
        cells: in an imported table, the number of rows by operator and source (`row_sources`).
        verifies: digest of the table whose passes these are, in a table of passes alone.
        notes: what went wrong or was left out while measuring.
    """

    stated: Mapping[str, Any]
    gpu: str | None = None
    model: str | None = None
    tp: PositiveCount | None = None
    model_spec: ModelSpec | None = None
    memory_bytes: PositiveCount | None = None
    multiprocessors: PositiveCount | None = None
    gpu_id: str | None = None
    pass_layers: PositiveCount | None = None
    passes_of: str | None = None
    calls: dict[str, PositiveCount] = {}
    boost: PowerFit | None = None
    leave_one_out: SizeErrors | None = None
    all_reduce: Collective | None = None
    width: PositiveCount | None = None
    source: str | None = None
    framework: str | None = None
    corrected: bool = False
    modelled_from: str | None = None
    modelled_error: PassErrors | None = None
    cells: dict[str, dict[str, Count]] | None = None
    verifies: str | None = None
    notes: list[str] = []

    def __repr__(self) -> str:
        """One line."""
        return f"Provenance({self.gpu}/{self.model}/tp{self.tp}, {self.kind})"

    @classmethod
    def of(cls, stated: Mapping[str, Any]) -> Provenance:
        """The provenance that these plain values state. InputError names the field that is wrong."""
        used = {name: hint for name, hint in hints(cls).items() if name in stated and name != "stated"}
        return cls(stated=stated, **{name: fitted(stated[name], hint, name) for name, hint in used.items()})

    @classmethod
    def load(cls, path: Path) -> Provenance:
        """Read a `provenance.yaml`. InputError names the file and the field that is wrong."""
        stated = mapping(path, "the provenance of an operator table")
        found = stated.get("schema_version")
        if found != SCHEMA_VERSION:
            cure = "update flowsim" if type(found) is int and found > SCHEMA_VERSION else "measure the table again"
            raise InputError(f"{path}: schema_version", found=found, expected=f"{SCHEMA_VERSION} ({cure})")
        try:
            as_text(stated := _numbered(stated))
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(str(path), f"holds what JSON cannot ({error})") from error
        try:
            return cls.of(stated)
        except InputError as error:
            raise error.within(str(path)) from None

    def rank(self) -> Rank:
        """What the operators belong to. InputError: it is not all stated, or a name cannot name a folder of tables."""
        facts = self.gpu, self.model, self.tp, self.model_spec, self.memory_bytes
        if missing := [name for name, fact in zip(Rank._fields, facts, strict=True) if fact is None]:
            raise InputError("provenance", f"lacks {', '.join(missing).replace('spec', 'model_spec')}")
        rank = Rank(*facts)  # type: ignore[arg-type]
        check_table_name("provenance: gpu", rank.gpu)
        check_table_name("provenance: model", rank.model)
        return rank

    def layers_of_passes(self) -> int:
        """Layers of the model that whole passes were measured on. InputError: more than the model has."""
        most = self.rank().spec.layers
        if self.pass_layers is not None and self.pass_layers > most:
            raise InputError("provenance: pass_layers", found=self.pass_layers, expected=f"<= {most}, as in the model")
        return self.pass_layers or most

    @property
    def kind(self) -> Kind:
        """The kind of the table."""
        if self.modelled_from is not None:
            return "modelled"
        return "measured" if self.source is None else "imported"

    @property
    def is_of_group(self) -> bool:
        """Whether its passes are those of all ranks together."""
        return self.passes_of == "group"


def as_text(stated: Mapping[str, Any]) -> str:
    """The provenance in one line, the same for equal ones."""
    return json.dumps(dict(stated), sort_keys=True, default=str)


def _numbered(value: Any) -> Any:
    """The same values with whole numbers as keys where all keys of a mapping are such: tokens, in `expert_load`."""
    if isinstance(value, list):
        return [_numbered(part) for part in value]
    if not isinstance(value, dict):
        return value
    numbers = bool(value) and all(key.isdecimal() for key in value)
    return {int(key) if numbers else key: _numbered(part) for key, part in value.items()}
