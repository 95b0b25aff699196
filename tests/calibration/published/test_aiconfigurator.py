"""Folders of public measurements: what is read of them, and what is refused in one line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from click.testing import CliRunner

from flowsim.calibration.published.aiconfigurator import folder_source, of_shape
from flowsim.cli.main import main
from flowsim.errors import InputError
from support.calibration import public_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return public_folder(tmp_path / "public")


def test_what_is_measured_again_is_no_contradiction(folder: Path) -> None:
    table = folder / "gemm.csv"
    lines = table.read_text().splitlines()
    m, n, k, kernel, ms = lines[1].split(",")
    lines[2:2] = ["", f"{m}.0,{n},{k},{kernel},{1.9 * float(ms)}"]
    table.write_text("\ufeff" + "\r\n".join(lines))
    assert of_shape(folder_source(folder).gemm, n=int(n), k=int(k))[int(m)] == (float(ms) * 1e-3, kernel)
    table.write_text("\n".join([*lines[:3], f"{m},{n},{k},{kernel},{2.1 * float(ms)}", *lines[4:]]))
    with pytest.raises(InputError) as error:
        folder_source(folder)
    assert str(error.value) == (
        f"{table}: row 4: latency_ms must be at most 2 times that of the fastest row with the same m, n, k and kernel, "
        "0.0167772, got 0.0352322"
    )


def edit(file: Path, old: str, new: str) -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))


@pytest.mark.parametrize("value", ["-1", "0", "nan", "inf", "", "fast"])
def test_a_wrong_time_is_one_line(value: str, folder: Path) -> None:
    table = folder / "context_attention.csv"
    edit(table, "1,1,0,32,8,128,fa,1e-06", f"1,1,0,32,8,128,fa,{value}")
    with pytest.raises(InputError) as error:
        folder_source(folder)
    assert str(error.value) == f"{table}: row 2: latency_ms must be a number > 0 and <= 10^9, got {value!r}"


@pytest.mark.parametrize("value", ["-1", "0", "nan", "1.5", "", "many"])
@pytest.mark.parametrize("column", ["m", "n", "k"])
def test_a_wrong_size_is_one_line(column: str, value: str, folder: Path) -> None:
    table = folder / "gemm.csv"
    edit(table, "64,4096,16384,", ",".join(value if name == column else "64" for name in "mnk") + ",")
    with pytest.raises(InputError) as error:
        folder_source(folder)
    assert str(error.value) == f"{table}: row 11: {column} must be a whole number >= 1 and <= 10^12, got {value!r}"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "context_attention.csv",
            ("1,1,0,32", "one,1,0,32"),
            ": row 2: batch_size must be a whole number >= 0",
        ),
        (
            "context_attention.csv",
            ("1,1,0,32,", "1,1,0,heads,"),
            ": row 2: num_heads must be a whole number",
        ),
        ("context_attention.csv", ("num_heads", "heads"), ": lacks the columns num_heads"),
        ("context_attention.csv", ("step", "isl"), ": row 1: the column 'isl' is repeated"),
        ("gemm.csv", ("1,4096,4096,linear", "1,4096,4096,a,b"), ": row 2: has 6 fields; expected 5, as in row 1"),
        ("gemm.csv", (",linear", ""), ": row 2: has 4 fields; expected 5, as in row 1"),
        ("gemm.csv", (None, ""), ": lacks the columns m, n, k, kernel_source, latency_ms"),
        (
            "gemm.csv",
            (None, "m,n,k,kernel_source,latency\n"),
            ": has no row in bfloat16 ",
        ),
        ("gemm.csv", (None, b"\x1f\x8b\xff"), ": cannot be read: 'utf-8' codec can't decode byte 0x8b"),
        ("toy_gpu.yaml", (None, ""), " must be a mapping, got nothing"),
        ("toy_gpu.yaml", (None, "gpu: [1"), ": line 1: is not YAML: while parsing a flow sequence"),
        (
            "toy_gpu.yaml",
            (None, "gpu: a100"),
            ": gpu must be a mapping of mem_capacity, mem_bw",
        ),
        ("toy_gpu.yaml", ("mem_bw:", "bw:"), ": gpu: lacks mem_bw"),
        ("toy_gpu.yaml", ("85899345920", "80 GiB"), ": gpu.mem_capacity must be a number >= 1, got '80 GiB'"),
        (
            "toy_gpu.yaml",
            ("2000000000000", "2e12"),
            ": gpu.mem_bw must be a number >= 1 (in YAML, write 2.0e+12), got '2e12'",
        ),
        ("toy_gpu.yaml", ("0.000003", "-1"), ": gpu.mem_empirical_constant_latency must be >= 0, got -1"),
        ("toy_gpu.yaml", ("0.5", ".nan"), ": gpu.mem_bw_empirical_scaling_factor must be a number >= 0.001, got nan"),
        ("toy_gpu.yaml", ("0.5", "0.5\n  mem_bw: 1"), ": line 4: the key 'mem_bw' is repeated"),
    ],
)
def test_a_wrong_folder_is_one_line(
    name: str, change: tuple[str | None, str | bytes], message: str, folder: Path
) -> None:
    old, new = change
    if isinstance(new, bytes):
        (folder / name).write_bytes(new)
    else:
        edit(folder / name, (folder / name).read_text() if old is None else old, new)
    with pytest.raises(InputError) as error:
        folder_source(folder)
    assert str(error.value).startswith(f"{folder / name}{message}")
    assert "\n" not in str(error.value)


def test_a_cut_off_file_is_one_line(folder: Path, tmp_path: Path) -> None:
    text = (folder / "gemm.csv").read_bytes()
    (folder / "gemm.csv").unlink()
    packed, file = gzip.compress(text), folder / "gemm.csv.gz"
    file.write_bytes(packed)
    assert folder_source(folder).name == "gemm.csv.gz and context_attention.csv"
    for damaged in (packed[:-20], packed[:40] + b"????" + packed[44:], text):
        file.write_bytes(damaged)
        done = CliRunner().invoke(main, ["calibrate", "import", str(folder), "--out", str(tmp_path / "out")])
        assert done.exit_code == 2
        assert done.stderr.startswith(f"flowsim: error: {file}: cannot be read: ")
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_parquet_is_read_from_a_folder_too(folder: Path) -> None:
    import pandas as pd

    table, parquet = pd.read_csv(folder / "gemm.csv"), folder / "gemm.parquet"
    expected = folder_source(folder).gemm["latency"].tolist()
    table.to_parquet(parquet)
    with pytest.raises(InputError, match=r"holds gemm\.csv and gemm\.parquet; expected one gemm\*"):
        folder_source(folder)
    (folder / "gemm.csv").unlink()
    assert folder_source(folder).gemm["latency"].tolist() == expected
    table.assign(latency_ms=[*table["latency_ms"][:-1], float("nan")]).to_parquet(parquet)
    with pytest.raises(
        InputError, match=r"gemm\.parquet: row 24: latency_ms must be a number > 0 and <= 10\^9, got 'nan'"
    ):
        folder_source(folder)
    parquet.write_bytes(parquet.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"gemm\.parquet: cannot be read: "):
        folder_source(folder)
