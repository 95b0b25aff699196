"""The folder of a study's results: a journal that grows run by run, and the Parquet file that it is sealed into."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import yaml

from flowsim.errors import InputError
from flowsim.io import documents
from flowsim.io.counts import number_of
from flowsim.io.folders import check_ends, check_replaceable, check_writable, exists, writing_file
from flowsim.io.journal import Journal, read_records
from flowsim.io.locks import locked
from flowsim.io.parquet import arrow_table, check_plain, check_unchanged, column_kinds, write_rows
from flowsim.results.definitions.runs_parquet import TEXTS, is_number
from flowsim.results.saved_files import ROUNDING, is_share
from flowsim.runs.options import MAPPINGS, is_option, options

if TYPE_CHECKING:
    import pandas as pd

JOURNAL, SEALED, REQUESTS, STUDY = "runs.jsonl", "runs.parquet", "requests", "study.yaml"
OTHERS = {"comparison.csv": "a comparison", "summary.json": "a run"}
"""Files that tell the folder of another kind of result, and that kind."""
MEASURED = (
    "attainment", "goodput_rps", "offered_rps", "utilization", "ttft_p50_s", "ttft_p99_s", "ttft_exceeds_p50_s",
    "ttft_exceeds_p99_s", "requests", "counted", "late", "starved", "ci_attainment_low", "ci_attainment_high",
)  # fmt: skip
"""Columns of numbers that every study other than a search has, unless all of its runs failed."""
DIGESTS = ("trace_sha256", "cost_model_sha256", "served_sha256", "arrivals_sha256", "decisions_sha256")
"""Columns of texts that it has then."""
Row = Mapping[str, Any]


class Store:
    """Rows of runs by their key, on disk; in memory only where each row begins.

    A key stands for the inputs of a run, however a study writes them: a row gets its options when it is sealed.

    Opened as a context manager by one process at a time. `append` survives a kill at any moment: at the next opening
    a row that is not whole is forgotten, and so are failed runs, which are to be tried again.

    Runs whose key is not one of `keys` are of other inputs. If the folder holds the results of this very study, one of
    its files has changed since, such as the source of a policy: they are forgotten, to be run again.

    Args:
        folder: of the results.
        keys: of all runs of the study, in their order.
        study: in its YAML form.
        source: the file that it was read from, if it was.

    Raises InputError when it is opened on the runs of another study, or would replace a study.yaml of the user's own.
    """

    def __init__(self, folder: str | Path, keys: Collection[str], study: Mapping[str, Any], source: str) -> None:
        check_writable(folder)
        self.folder = Path(folder)
        self._keys = keys
        self._study = study
        self._source = source
        self._at: dict[str, int] = {}
        self._forgotten: set[str] = set()
        self._sealed = False

    def __enter__(self) -> Store:
        _refuse_others(self.folder)
        if not _is_of(self.folder, self._study):
            check_replaceable(self.folder, (SEALED, STUDY), self._source)
        self._refuse_strangers(row["key"] for row in sealed_rows(self.folder, ["key"]))
        with ExitStack() as opened:
            opened.enter_context(locked(self.folder))
            self._journal = Journal(self.folder / JOURNAL)
            opened.callback(self._close)
            self._read_journal()
            self._unseal()
            self._opened = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._opened.close()

    def __contains__(self, key: str) -> bool:
        return key in self._at

    def append(self, row: Row, requests: bytes | None = None) -> None:
        """Keep a row, and the Parquet bytes of its requests if there are any."""
        if requests is not None:
            place = self.requests(row["key"])
            place.parent.mkdir(exist_ok=True)
            with writing_file(place) as partial:
                partial.write_bytes(requests)
        self._at[row["key"]] = self._journal.append(row)

    def requests(self, key: str) -> Path:
        """The file with one row per request of the run of this key."""
        return place_of_requests(self.folder, key)

    def seal(self, options: Callable[[str], Row]) -> None:
        """Write runs.parquet, with the rows of all keys in their order, and study.yaml; then drop the journal.

        Args:
            options: the options of the run of a key, as the study writes them.
        """
        keys = list(self._keys)
        self._drop_forgotten()
        write_rows(self.folder / SEALED, lambda: self._rows(keys, options))
        with writing_file(self.folder / STUDY) as partial:
            partial.write_text(study_text(self._study), encoding="utf-8")
        self._sealed = True

    def _drop_forgotten(self) -> None:
        """Delete the requests of the runs that were forgotten."""
        place = self.folder / REQUESTS
        if not place.is_symlink():
            forgotten = {self.requests(key) for key in self._forgotten} - {self.requests(key) for key in self._keys}
            for file in forgotten.intersection(place.glob("*.parquet")):
                file.unlink()

    def _rows(self, keys: Iterable[str], options: Callable[[str], Row]) -> Iterator[dict[str, Any]]:
        for key in keys:
            row = self._journal.read(self._at[key])
            yield {**options(key), **{name: value for name, value in row.items() if not is_option(name)}}

    def _close(self) -> None:
        self._journal.close()
        if self._sealed or self._journal.path.stat().st_size == 0:
            self._journal.path.unlink()

    def _refuse_strangers(self, keys: Iterable[str]) -> None:
        strange = {key for key in keys if key not in self._keys}
        if strange and not _is_of(self.folder, self._study):
            found = f"holds {number_of(len(strange), 'run that is', 'runs that are')} not part of this study"
            allowed = "a new folder, the same study, or the study with more values"
            raise InputError(str(self.folder), found, expected=allowed)
        self._forgotten |= strange

    def _read_journal(self) -> None:
        where = f"{self.folder / JOURNAL}"
        rows = ((position, _row(row, where)) for position, row in self._journal.records())
        done = {row["key"]: position for position, row in rows if row["error"] is None}
        self._refuse_strangers(done)
        self._at = {key: position for key, position in done.items() if key in self._keys}

    def _unseal(self) -> None:
        """Put the rows of runs.parquet back into the journal: the study may have grown since."""
        for row in sealed_rows(self.folder):
            if row["key"] in self._keys and row["key"] not in self._at and row["error"] is None:
                self.append(row)


def _refuse_others(folder: Path) -> None:
    """InputError if the folder holds a run or a comparison."""
    for name, kind in OTHERS.items():
        if exists(folder / name):
            raise InputError(str(folder), f"holds {kind} ({name})", expected="a new folder, or one of this study")


def study_text(study: Mapping[str, Any]) -> str:
    """The study.yaml of a study in its YAML form."""
    return yaml.safe_dump(dict(study), sort_keys=False, allow_unicode=True)


def sealed_keys(folder: str | Path, study: Mapping[str, Any]) -> list[str] | None:
    """The keys in runs.parquet, in order; None unless it is of this very study, whole, and without a failed run."""
    import pyarrow.parquet as pq

    path = Path(folder, SEALED)
    if not path.exists() or Path(folder, JOURNAL).exists():
        return None
    if not _is_of(Path(folder), study):
        return None
    with _reading(path):
        _check_columns(path, pq.read_schema(path.absolute()).names)
        check_unchanged(path)
        table = pq.read_table(path.absolute(), columns=["key", "error"])
    return None if table["error"].null_count < len(table) else table["key"].to_pylist()


def _is_of(folder: Path, study: Mapping[str, Any]) -> bool:
    """Whether the folder's study.yaml is that of this very study, in its YAML form."""
    about = folder / STUDY
    return about.is_file() and about.read_bytes() == study_text(study).encode()


def sealed_rows(folder: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of runs.parquet, a row group at a time; none when there is no such file."""
    import pyarrow.parquet as pq

    if (folder / SEALED).exists():
        with _reading(folder / SEALED), pq.ParquetFile((folder / SEALED).absolute()) as file:
            _check_columns(folder / SEALED, file.schema_arrow.names)
            check_plain(folder / SEALED, file.schema_arrow)
            check_unchanged(folder / SEALED)
            for group in range(file.num_row_groups):
                yield from file.read_row_group(group, columns).to_pylist()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    import pyarrow as pa

    check_ends(path)
    try:
        yield
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:  # text that is not UTF-8 is a ValueError
        allowed = "what flowsim sweep or capacity wrote; remove it to run the study again"
        raise InputError(str(path), f"cannot be read ({' '.join(str(error).split())})", expected=allowed) from error


def read_runs(folder: str | Path) -> pd.DataFrame:
    """The runs of a study's folder, one row per run; while the study is still going, those done so far.

    Raises:
        InputError: the folder holds no runs.
    """
    import pandas as pd

    frame: pd.DataFrame
    place = Path(folder)
    if exists(place / JOURNAL):
        rows = (_row(row, f"{place / JOURNAL}") for row in read_records(place / JOURNAL))
        done = {row["key"]: row for row in rows}.values()
        frame = arrow_table(done, column_kinds(done)).to_pandas()
        return _checked(frame, place / JOURNAL)
    if not (place / SEALED).exists():
        raise InputError(str(folder), f"has no {SEALED}", expected="a folder that flowsim sweep or capacity wrote")
    import pyarrow.parquet as pq

    with _reading(place / SEALED):
        check_plain(place / SEALED, pq.read_schema((place / SEALED).absolute()))
        frame = _checked(pd.read_parquet((place / SEALED).absolute()), place / SEALED)
        check_unchanged(place / SEALED)
        return frame


def _checked(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The same runs. InputError: a column that every study has is missing, or one holds what no run gives."""
    if frame.empty:
        raise InputError(str(path), "has no runs", expected="what flowsim sweep or capacity wrote")
    needed = [name for name in options() if name not in MAPPINGS]
    if "error" in frame and frame["error"].isna().any() and "probes" not in frame:
        needed += [*MEASURED, *DIGESTS]
    _check_columns(path, list(frame), needed)
    for name in map(str, frame.columns):
        column = frame[name]
        bad, expected = _wrong(column, name)
        if bad.any():
            row = int(bad.to_numpy().argmax())
            raise InputError(f"{path}: row {row + 1}: {name}", found=column.tolist()[row], expected=expected)
        if _is_number(name) and column.dtype.kind not in "iuf":  # all values are missing
            frame[name] = column.astype(float)
    return frame


def _wrong(column: pd.Series, name: str) -> tuple[pd.Series, str]:
    """Which values no study has in a column of this name, and what it has."""
    kind, here = column.dtype.kind, column.notna()
    if name in TEXTS:
        return (here if kind in "biuf" else ~here & (name in ("key", "policy"))), "text"
    if _is_number(name) and kind not in "iuf":
        return here, "a number"
    if is_share(name):
        return (column < 0) | (column > 1 + ROUNDING), "a share from 0 to 1"
    return (column < 0) if name in MEASURED else here & False, "a number >= 0"


def _is_number(name: str) -> bool:
    return type(options()[name].default) in (int, float) if name in options() else is_number(name)


def _row(record: Row, where: str) -> Row:
    """A record of a journal, if it is the row of a run. InputError: it is not."""
    if not (isinstance(record.get("key"), str) and isinstance(record.get("error", 0), str | None)):
        raise InputError(where, "is not the journal of a study", expected="what flowsim sweep or capacity wrote")
    return record


def _check_columns(path: Path, names: Sequence[Any], needed: Sequence[str] = ()) -> None:
    """InputError unless the columns key and error, and those that are needed, are among these."""
    if missing := [name for name in ("key", "error", *needed) if name not in names]:
        raise InputError(str(path), f"has no column {missing[0]}", expected="what flowsim sweep or capacity wrote")


def place_of_requests(folder: Path, key: str) -> Path:
    """The file with the requests of the run of a key, if the study in a folder keeps them."""
    return folder / REQUESTS / f"{key[:16]}.parquet"


def title_of(folder: str | Path) -> str:
    """The title of the study whose results the folder holds; "" if it has none, or is still going."""
    path = Path(folder, STUDY)
    return str(documents.mapping(path, "the study of these runs").get("title", "")) if exists(path) else ""
