"""The operator table: what each operator of a model costs on a GPU, as measured, and how it was measured.

On disk a table is a folder of three files: `provenance.yaml`, `operators.csv`, to which a cost model is fitted, and
`passes.csv`: whole forwards, which are never fitted and state the error of that fit. Recorded passes run as CUDA graphs
whose device times are in `operators.csv`.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import yaml

from flowsim.calibration.costs.provenance import Provenance, as_text
from flowsim.calibration.costs.table_rows import OperatorRow, PassRow, csv_of, format_slices, read_csv
from flowsim.errors import InputError
from flowsim.io import folders
from flowsim.io.counts import number_of
from flowsim.io.folders import Stamp, followed, stamp_of
from flowsim.io.notebook import facts_html

FILES = ("provenance.yaml", "operators.csv", "passes.csv")
"""The files of a table's folder."""
LITTER = (".DS_Store", ".lock")
"""What else may lie there and is nobody's."""
Floats = npt.NDArray[np.float64]


class OperatorSamples(NamedTuple):
    """The measured sizes of one operator, sorted by (context, tokens); times in seconds."""

    tokens: npt.NDArray[np.int64]
    context: npt.NDArray[np.int64]
    device_s: Floats
    host_s: Floats


@dataclass(frozen=True)
class OperatorTable:
    """Measured costs of one model on one GPU: operators, whole passes, and their provenance."""

    provenance: Provenance
    operators: tuple[OperatorRow, ...] = field(repr=False)
    passes: tuple[PassRow, ...] = field(default=(), repr=False)

    def _repr_html_(self) -> str:
        stated, rows = self.provenance, []
        for name in dict.fromkeys(row.operator for row in self.operators):
            sizes = [row.tokens for row in self.operators if row.operator == name]
            to = f", to {max(sizes):,} tokens" if max(sizes) else ""
            rows.append((name, f"{number_of(len(sizes), 'size')}{to}"))
        rows.append(("whole passes", f"{len(self.passes):,}"))
        return facts_html(f"{stated.gpu}/{stated.model}/tp{stated.tp}", rows, f", {stated.kind}")

    def samples(self, operator: str) -> OperatorSamples:
        """The rows of this operator, sorted by context, then tokens. InputError: it was not measured."""
        rows = sorted((r for r in self.operators if r.operator == operator), key=lambda r: (r.context, r.tokens))
        if not rows:
            raise InputError("operators", f"no row of {operator}")
        for row, following in pairwise(rows):
            if (row.tokens, row.context) == (following.tokens, following.context):
                size = format_slices([(row.tokens, row.context)])
                raise InputError("operators", f"two rows of {operator} at {size}")
        if operator != "attention" and any(r.context for r in rows):
            raise InputError("operators", f"a row of {operator} has a context, on which only attention depends")
        return OperatorSamples(
            np.array([r.tokens for r in rows], np.int64),
            np.array([r.context for r in rows], np.int64),
            np.array([r.device_us for r in rows]) * 1e-6,
            np.array([r.host_us for r in rows]) * 1e-6,
        )

    def has(self, operator: str) -> bool:
        """Whether this operator was measured."""
        return any(row.operator == operator for row in self.operators)

    def digest(self) -> str:
        """SHA-256 over the content, in hexadecimal: the same for equal tables, on any machine."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        rows = csv_of(OperatorRow, self.operators) + csv_of(PassRow, self.passes)
        return hashlib.sha256((as_text(self.provenance.stated) + rows).encode()).hexdigest()

    def stating(self, **facts: Any) -> OperatorTable:
        """The same table with more, or other, facts in its provenance."""
        return replace(self, provenance=Provenance.of({**self.provenance.stated, **facts}))

    def save(self, folder: str | Path) -> None:
        """Write the table as this folder, whole or not at all; replaces a table that is there, and follows a link."""
        check_replaceable(folder)
        target = followed(folder)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".table-", dir=target.parent) as staging:
                self._write(Path(staging, "new"))
                if target.exists():
                    target.rename(Path(staging, "old"))
                Path(staging, "new").rename(target)
        except OSError as error:
            raise InputError(str(folder), f"cannot be written ({error.strerror})") from error

    def _write(self, new: Path) -> None:
        new.mkdir()
        text = yaml.safe_dump(dict(self.provenance.stated), sort_keys=False, allow_unicode=True)
        (new / "provenance.yaml").write_text(text, encoding="utf-8")
        (new / "operators.csv").write_text(csv_of(OperatorRow, self.operators), encoding="utf-8")
        (new / "passes.csv").write_text(csv_of(PassRow, self.passes), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> OperatorTable:
        """The table in a folder, read once for as long as its files stay as they are.

        Raises:
            InputError: it names the file, the row and the field that is wrong.
        """
        root = Path(folder)
        if not root.is_dir():
            how = "shipped tables are named by --gpu, --model and --tp or, as a TABLE, by gpu/model/tpN"
            raise InputError(str(root), "is not a folder", expected=f"an operator table ({how})")
        return _read(root, tuple(stamp_of(root / name) for name in FILES))


@lru_cache(maxsize=64)
def _read(root: Path, stamps: tuple[Stamp, ...]) -> OperatorTable:
    provenance = Provenance.load(root / "provenance.yaml")
    operators, passes = read_csv(OperatorRow, root / "operators.csv"), read_csv(PassRow, root / "passes.csv")
    return OperatorTable(provenance, tuple(operators), tuple(passes))


def check_replaceable(folder: str | Path) -> None:
    """Raise `InputError` unless a table may be saved as this folder: it is new, empty, or an operator table."""
    target = Path(folder)
    names = {path.name for path in target.iterdir()} if target.is_dir() else set()
    others = sorted(names.difference(FILES, LITTER))
    if others or (target.exists() and not target.is_dir()):
        found = f"holds {others[0]}" if others else "is a file"
        raise InputError(str(target), found, expected="a new folder, or one with nothing but a table")
    folders.check_replaceable(target, FILES)
