"""What goes into a bundle, and what is refused."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from archive.conftest import COMMANDS, command

import flowsim
from flowsim.errors import InputError

OWN = {"policies/own_policy_.py", "policies/own_helper_.py"}
TABLE = {f"inputs/1/table/{name}" for name in ("operators.csv", "passes.csv", "provenance.yaml")}
HELD = {
    "run": {"inputs/0/trace.jsonl", *TABLE, *OWN},
    "comparison": {"inputs/0/trace.jsonl", *OWN},
    "study": {"inputs/0/trace.jsonl", *TABLE, "inputs/2/slo.yaml", *OWN},
    "search": {"inputs/0/trace.jsonl"},
    "shipped": set(),
}


@pytest.mark.parametrize("kind", HELD)
def test_a_bundle_holds_the_results_and_all_that_they_were_made_of(
    workshop: Path, bundled: Callable[[str], Path], kind: str
) -> None:
    with zipfile.ZipFile(bundled(kind)) as archive:
        names = set(archive.namelist())
        manifest = json.loads(archive.read("manifest.json"))
    results = {
        f"results/{path.relative_to(workshop / kind)}" for path in (workshop / kind).rglob("*") if path.is_file()
    }
    assert names == {"manifest.json", *results, *HELD[kind]}
    assert manifest["files"].keys() == names - {"manifest.json"}
    assert list(manifest["policies"]) == (["own_policy_:Mine"] if HELD[kind] >= OWN else [])
    assert set(manifest["versions"]) == {"flowsim", "source", "numpy", "python"}


def test_the_same_results_make_the_same_bytes(workshop: Path, bundled: Callable[[str], Path], tmp_path: Path) -> None:
    first = bundled("study").read_bytes()
    assert command(workshop, f"bundle study --out {tmp_path}/again.zip -q").stdout == ""
    assert (tmp_path / "again.zip").read_bytes() == first
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_table_of_the_users_that_was_found_by_name_goes_along(workshop: Path, tmp_path: Path) -> None:
    place = shutil.copytree(workshop, tmp_path / "w")
    shutil.copytree(place / "table", place / "tables" / "h200" / "llama3-8b" / "tp1")
    assert command(place, "run example --limit 20 --out out -q").exit_code == 0
    assert command(place, "bundle out --out out.zip").exit_code == 0
    with zipfile.ZipFile(place / "out.zip") as archive:
        assert "tables/h200/llama3-8b/tp1/operators.csv" in archive.namelist()
    shutil.rmtree(place / "tables")
    assert command(place, "reproduce out.zip -q").exit_code == 0


CHANGES = {"data/trace.jsonl": ("\n", "\n\n"), "slo.yaml": ("0.5", "0.6"), "own_helper_.py": ("-1", "-2")}
STALE = "study: has failed runs, or a trace, table, SLO file, policy or version that has changed since"


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("run", "data/trace.jsonl", "was made from inputs that have changed since: trace (found "),
        ("run", "own_helper_.py", "was made from inputs that have changed since: policy (found "),
        ("study", "slo.yaml", STALE),
        ("study", "own_helper_.py", STALE),
    ],
)
def test_results_whose_inputs_have_changed_are_refused(
    workshop: Path, tmp_path: Path, kind: str, change: str, said: str
) -> None:
    place = shutil.copytree(workshop, tmp_path / "w", ignore=shutil.ignore_patterns(*COMMANDS))
    assert command(place, COMMANDS[kind], "--out", kind, "-q").exit_code == 0
    (place / change).write_text((place / change).read_text().replace(*CHANGES[change], 1))
    done = command(place, f"bundle {kind} --out out.zip")
    assert done.exit_code == 2 and said in done.stderr and done.stderr.count("\n") == 1
    assert not (place / "out.zip").exists()


def test_what_holds_no_whole_results_is_refused(tmp_path: Path, workshop: Path, bundled: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match="holds no results; expected what flowsim run, compare, sweep or"):
        flowsim.bundle(tmp_path, tmp_path / "x.zip")
    with pytest.raises(InputError, match=r"^out must be the name of a file that ends in .zip, got 'x.tar'$"):
        flowsim.bundle(tmp_path, "x.tar")
    bundled("shipped")
    unfinished = Path(shutil.copytree(workshop / "shipped", tmp_path / "unfinished"))
    (unfinished / "runs.jsonl").touch()
    with pytest.raises(InputError, match="holds no results"):
        flowsim.bundle(unfinished, tmp_path / "x.zip")
    with pytest.raises(InputError, match="cannot be written"):
        flowsim.bundle(workshop / "shipped", "/proc/x.zip")


def test_a_policy_that_no_file_holds_is_refused(tmp_path: Path) -> None:
    flowsim.run("example", limit=5).save(tmp_path)
    config = tmp_path / "config.yaml"
    config.write_text(config.read_text().replace("policy: flowprefill", "policy: __main__:Mine"))
    with pytest.raises(InputError, match="policy '__main__:Mine': is in no file that another process can import"):
        flowsim.bundle(tmp_path, tmp_path / "x.zip")
    config.write_text(config.read_text().partition("pinned:")[0].replace("__main__:Mine", "flowprefill"))
    with pytest.raises(InputError, match="has a config that pins nothing"):
        flowsim.bundle(tmp_path, tmp_path / "x.zip")


def test_a_study_without_the_requests_that_it_keeps_is_refused(tmp_path: Path) -> None:
    study = {"run": {"trace": "example", "workload.limit": 20, "slo": 0.5}, "axes": {"policy": ["fcfs", "edf"]}}
    runs = flowsim.sweep({**study, "requests": True}, tmp_path / "out", workers=1)
    first, second = (tmp_path / "out" / "requests" / f"{key[:16]}.parquet" for key in runs.table["key"])
    flowsim.bundle(tmp_path / "out", tmp_path / "whole.zip")
    whole = second.read_bytes()
    second.write_bytes(whole[:500])
    with pytest.raises(InputError, match=rf"{second.name}: cannot be read \("):
        flowsim.bundle(tmp_path / "out", tmp_path / "x.zip")
    pd.read_parquet(first).assign(attained=False).to_parquet(second)
    with pytest.raises(InputError, match=rf"{second.name}: has attainment 0.0; expected .*, as in runs.parquet$"):
        flowsim.bundle(tmp_path / "out", tmp_path / "x.zip")
    second.unlink()
    with pytest.raises(InputError, match=rf"out: misses requests/{second.name}; expected the requests of every run"):
        flowsim.bundle(tmp_path / "out", tmp_path / "x.zip")
    shutil.rmtree(first.parent)
    with pytest.raises(InputError, match=rf"out: misses requests/{first.name}; expected the requests of every run"):
        flowsim.bundle(tmp_path / "out", tmp_path / "x.zip")
    assert flowsim.sweep({**study, "requests": True}, tmp_path / "out", workers=1).new == 2
    flowsim.bundle(tmp_path / "out", tmp_path / "again.zip")
    assert not (tmp_path / "x.zip").exists()


def test_the_columns_of_requests_that_a_study_keeps_are_enough(tmp_path: Path) -> None:
    study = {"run": {"trace": "example", "workload.limit": 20}, "requests": ["attained", "client"]}
    flowsim.sweep(study, tmp_path / "out", workers=1)
    flowsim.bundle(tmp_path / "out", tmp_path / "out.zip")
