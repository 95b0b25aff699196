"""Folders of public measurements: what is read of them, and what is refused in one line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from click.testing import CliRunner

from flowsim.calibration.public.aiconfigurator import folder_source, of_shape
from flowsim.cli.main import main
from flowsim.errors import InputError
from support.public_folder import public_folder


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
        f"{table}, row 4, latency_ms: found 0.0352322 beside 0.0167772 of the same m, n, k and kernel; "
        "allowed: at most 2 times as long"
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
    assert str(error.value) == f"{table}, row 2, latency_ms: found {value!r}; allowed: a number above 0, to 2**30"


@pytest.mark.parametrize("value", ["-1", "0", "nan", "1.5", "", "many"])
@pytest.mark.parametrize("column", ["m", "n", "k"])
def test_a_wrong_size_is_one_line(column: str, value: str, folder: Path) -> None:
    table = folder / "gemm.csv"
    edit(table, "64,4096,16384,", ",".join(value if name == column else "64" for name in "mnk") + ",")
    with pytest.raises(InputError) as error:
        folder_source(folder)
    assert str(error.value) == f"{table}, row 11, {column}: found {value!r}; allowed: a whole number from 1 to 2**40"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("context_attention.csv", ("1,1,0,32", "one,1,0,32"), ", row 2, batch_size: found 'one'; allowed: a whole num"),
        ("context_attention.csv", ("1,1,0,32,", "1,1,0,heads,"), ", row 2, num_heads: found 'heads'; allowed: a whole"),
        ("context_attention.csv", ("num_heads", "heads"), ": missing columns: num_heads"),
        ("context_attention.csv", ("step", "isl"), ", row 1: found the column 'isl' twice; allowed: once"),
        ("gemm.csv", ("1,4096,4096,linear", "1,4096,4096,a,b"), ", row 2: found 6 fields; allowed: the 5 of row 1"),
        ("gemm.csv", (",linear", ""), ", row 2: found 4 fields; allowed: the 5 of row 1"),
        ("gemm.csv", (None, ""), ": missing columns: m, n, k, kernel_source, latency_ms"),
        ("gemm.csv", (None, "m,n,k,kernel_source,latency\n"), ": found no row in bfloat16 (attention: of one whole"),
        ("gemm.csv", (None, b"\x1f\x8b\xff"), ": cannot be read: 'utf-8' codec can't decode byte 0x8b"),
        ("toy_gpu.yaml", (None, ""), ", gpu: found None; allowed: a mapping of mem_capacity, mem_bw, "),
        ("toy_gpu.yaml", (None, "gpu: [1"), ": cannot be read: while parsing a flow sequence"),
        ("toy_gpu.yaml", (None, "gpu: a100"), ", gpu: found 'a100'; allowed: a mapping"),
        ("toy_gpu.yaml", ("mem_bw:", "bw:"), ", gpu, mem_bw: found None; allowed: a number from 1"),
        ("toy_gpu.yaml", ("85899345920", "80 GiB"), ", gpu, mem_capacity: found '80 GiB'; allowed: a number from 1"),
        (
            "toy_gpu.yaml",
            ("2000000000000", "2e12"),
            ", gpu, mem_bw: found '2e12'; allowed: a number from 1 to 2^53, as in 2.0",
        ),
        ("toy_gpu.yaml", ("0.000003", "-1"), ", gpu, mem_empirical_constant_latency: found -1; allowed: a number from"),
        ("toy_gpu.yaml", ("0.5", ".nan"), ", gpu, mem_bw_empirical_scaling_factor: found nan; allowed: a number from"),
        ("toy_gpu.yaml", ("0.5", "0.5\n  mem_bw: 1"), ", line 4: the key 'mem_bw' is repeated"),
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
    with pytest.raises(InputError, match=r"found gemm\.csv and gemm\.parquet; allowed: one gemm\*"):
        folder_source(folder)
    (folder / "gemm.csv").unlink()
    assert folder_source(folder).gemm["latency"].tolist() == expected
    table.assign(latency_ms=[*table["latency_ms"][:-1], float("nan")]).to_parquet(parquet)
    with pytest.raises(
        InputError, match=r"gemm\.parquet, row 24, latency_ms: found 'nan'; allowed: a number above 0, to 2"
    ):
        folder_source(folder)
    parquet.write_bytes(parquet.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"gemm\.parquet: cannot be read: "):
        folder_source(folder)
