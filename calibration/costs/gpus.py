"""The catalogue of GPUs: what their datasheets promise, by which tables are scaled from one GPU to another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from shlex import quote

from flowsim.calibration.costs.models import (
    BYTES_PER_VALUE,
    as_yaml_number,
    check_table_name,
    load_model,
    model_names,
)
from flowsim.errors import InputError, unknown
from flowsim.io.documents import mapping
from flowsim.io.schema import Checked, Name, Positive, PositiveCount, build

USABLE = 0.99
"""Share of a GPU's memory that programs see: 0.990 of the H100's 80 GiB, 0.991 of the H200's 141 GiB."""
IN_BF16 = "of the model in bf16 (a config.json without quantization_config)"
"""What is left for a model of which no table can be had."""


class Gpu(Checked, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a datasheet states of one GPU. Rates are dense and sustained at no power limit, which few GPUs reach.

    Attributes:
        architecture: the maker's name of it.
        bf16_tflops: matrix products in bfloat16 or float16, accumulated in float32, 10^12 operations per second.
        fp8_tflops: the same in float8; None if it has none.
        bandwidth_tb_s: of its memory, 10^12 bytes per second.
        memory_gib: the memory, which datasheets give in units of 2^30 bytes.
        multiprocessors: or compute units.
        power_w: the most that it may draw.
        public: its name in the public measurements that can be imported; None if they have none.
        source: the datasheet.
    """

    architecture: Name
    bf16_tflops: Positive
    fp8_tflops: Positive | None = None
    bandwidth_tb_s: Positive
    memory_gib: Positive
    multiprocessors: PositiveCount
    power_w: Positive
    public: Name | None = None
    source: Name

    @property
    def memory_bytes(self) -> int:
        """What programs see of the memory."""
        return int(self.memory_gib * 2**30 * USABLE)


@cache
def catalogue() -> Mapping[str, Gpu]:
    """The GPUs whose datasheets are known, by name."""
    file = Path(str(resources.files("flowsim.calibration"))) / "data" / "gpus.yaml"
    return {name: build(Gpu, values, name) for name, values in mapping(file).items()}


def load_gpu(name_or_path: str) -> tuple[str, Gpu]:
    """The name and the datasheet of a GPU of the catalogue, or of a YAML file of its fields, named after the file.

    InputError: it is unknown, or a field is missing, unknown or wrong.
    """
    if not name_or_path.endswith((".yaml", ".yml")):
        if name_or_path not in catalogue():
            others = "one of them, or a YAML file with the fields of its datasheet"
            if sheet := meant(name_or_path):
                known = f"(known: {', '.join(catalogue())})"
                raise InputError(
                    "gpu", f"unknown gpu {name_or_path!r}; did you mean {sheet!r}? {known}", expected=others
                )
            raise unknown("gpu", name_or_path, catalogue(), where="gpu", expected=others)
        return name_or_path, catalogue()[name_or_path]
    name = Path(name_or_path).stem
    check_table_name(f"{name_or_path}: name", name)
    try:
        return name, build(
            Gpu, mapping(name_or_path, "the datasheet of a GPU (docs/calibration.md, Modelled tables)"), name_or_path
        )
    except InputError as error:
        raise as_yaml_number(error) from None


def completed(gpu: str, table: str) -> str:
    """The command that gives the table of one rank public all-reduces: of its GPU or, if it has none, of an H200."""
    sheet = catalogue().get(gpu)
    system = sheet.public if sheet else quote(gpu) if gpu.endswith("_sxm") else None
    stand_in = "" if system else f" (over the NVLink of an H200: none of {gpu} are public)"
    return f"flowsim calibrate all-reduce {quote(table)} --public {system or 'h200_sxm'}{stand_in}"


def meant(name: str) -> str | None:
    """The GPU of the catalogue that this name means: L40S, NVIDIA H100, a100_sxm; None if there is none."""
    if name in catalogue():
        return name
    short = _letters(name).removeprefix("nvidia").removeprefix("amd")
    known = {other: (_letters(other), _letters(gpu.public or other)) for other, gpu in catalogue().items()}
    same = [other for other, names in known.items() if short in names]
    longer = [other for other, (letters, _) in known.items() if len(short) > 1 and letters.startswith(short)]
    return next(iter(same or longer[-1:]), None)


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def ways(gpu: str, model: str, tp: int) -> str:
    """How to get a missing table: of the commands that measure, import or model it, those that work.

    InputError: the model is a file that cannot be read, or cannot be divided by `tp`.
    """
    is_named = model in model_names() or Path(model).exists()
    spec = load_model(model) if is_named else None
    options = f"--model {quote(model) if is_named else 'config.json'}" + (f" --tp {tp}" if tp > 1 else "")
    sheet = meant(gpu)
    system = catalogue()[sheet].public if sheet else quote(gpu) if gpu.endswith("_sxm") else None
    found = {}
    if spec is None or not spec.shard(tp).not_measured:
        found["measured on that GPU"] = f"flowsim calibrate {options} --out DIR"
    if system and not (spec and (spec.shared_intermediate or spec.dense_layers)):
        found["imported"] = f"flowsim calibrate import aiconfigurator --system {system} {options}"
    if spec is None or not (spec.experts and spec.bytes_per_weight < BYTES_PER_VALUE):
        file = gpu if gpu.endswith((".yaml", ".yml")) else f"{gpu}.yaml"
        how = "modelled"
        if not (sheet or Path(file).exists()):
            how += f" from its datasheet, written into {file} as docs/calibration.md says"
        found[how] = f"flowsim calibrate model --gpu {quote(sheet or file)} {options}"
    said = [f"{how} ({command})" for how, command in found.items()]
    return " or ".join([", ".join(said[:-1]), said[-1]] if said[1:] else said or [IN_BF16])
