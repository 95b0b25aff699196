"""A bundle run again where nothing else of its results is: the same bytes, or a line that says which differ."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import flowsim
from flowsim.errors import InputError
from support.archive import command, files_in, rewritten

KINDS = ("run", "comparison", "study", "search", "shipped")


@pytest.fixture
def alone(workshop: Path) -> Iterator[None]:
    """While a test runs, the workshop is not where it was."""
    hidden = shutil.move(workshop, workshop.with_name("hidden"))
    yield
    shutil.move(hidden, workshop)


@pytest.mark.parametrize("kind", KINDS)
def test_another_machine_makes_the_same_bytes(
    elsewhere: Callable[[str], Path], request: pytest.FixtureRequest, tmp_path: Path, workshop: Path, kind: str
) -> None:
    archive = elsewhere(kind)
    results = files_in(workshop / kind)
    request.getfixturevalue("alone")
    done = command(tmp_path, f"reproduce {archive.name} --trust-policies --workers 1")
    assert (done.exit_code, done.stdout.splitlines()) == (0, [f"same           {name}" for name in results])


def test_code_of_a_bundle_is_not_run_unless_it_is_trusted(elsewhere: Callable[[str], Path], tmp_path: Path) -> None:
    trap = f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\nSIGN = -1\n".encode()
    archive = rewritten(elsewhere("study"), {"policies/own_helper_.py": trap}, known=True)
    done = command(tmp_path, f"reproduce {archive.name}")
    said = "names policies of its own (own_policy_:Mine), whose code is not run; expected --trust-policies"
    assert (done.exit_code, done.stdout) == (2, "") and done.stderr.startswith(
        f"flowsim: error: {archive.name}: {said}"
    )
    assert not (tmp_path / "ran").exists()
    done = command(tmp_path, f"reproduce {archive.name} --trust-policies -q")
    assert "policy 'own_policy_:Mine': is found elsewhere, with another source than the bundle's" in done.stderr


@pytest.mark.parametrize("searched", ["{tmp}:", ".", ":", "policies:{tmp}"])
def test_no_module_of_a_bundle_is_imported_whatever_python_searches(
    elsewhere: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, searched: str
) -> None:
    """A bundle of shipped policies alone that holds a module which Python or NumPy would import by chance."""
    trap = f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n".encode()
    hidden = {f"policies/{name}.py": trap for name in ("sitecustomize", "usercustomize", "numpy", "flowsim")}
    monkeypatch.setenv("PYTHONPATH", searched.format(tmp=tmp_path))
    archive = rewritten(elsewhere("shipped"), hidden, known=True)
    with pytest.raises(
        InputError, match=r"holds files in policies/, though all its policies are shipped; expected --tr"
    ):
        flowsim.reproduce(archive, workers=1)
    assert not (tmp_path / "ran").exists()
    assert flowsim.reproduce(archive, workers=1, trust_policies=True).same
    assert not (tmp_path / "ran").exists()


def test_a_policy_that_only_the_manifest_names_is_not_imported(
    elsewhere: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = elsewhere("shipped")
    with zipfile.ZipFile(archive) as old:
        manifest = json.loads(old.read("manifest.json"))
    manifest["policies"] = {"trap_:Trap": ""}
    (tmp_path / "trap_.py").write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    rewritten(archive, {"manifest.json": json.dumps(manifest).encode()}, known=False)
    with pytest.raises(InputError, match=r"names policies of its own \(trap_:Trap\), whose code is not run"):
        flowsim.reproduce(archive, workers=1)
    assert not (tmp_path / "ran").exists()


def test_a_policy_that_only_a_config_names_is_not_run_either(elsewhere: Callable[[str], Path], tmp_path: Path) -> None:
    archive = elsewhere("run")
    with zipfile.ZipFile(archive) as old:
        config = old.read("results/config.yaml").replace(b"own_policy_:Mine", b"os:system:touch x")
        manifest = json.loads(old.read("manifest.json"))
    manifest["policies"] = {}
    rewritten(archive, {"manifest.json": json.dumps(manifest).encode()}, known=False)
    rewritten(archive, {"results/config.yaml": config}, known=True)
    with pytest.raises(InputError, match=r"names policies of its own \(os:system:touch x\), whose code is not run"):
        flowsim.reproduce(archive)
    with pytest.raises(InputError, match="os is a module of Python"):
        flowsim.reproduce(archive, trust_policies=True)


def test_results_that_were_not_made_so_differ(elsewhere: Callable[[str], Path], tmp_path: Path) -> None:
    archive = elsewhere("run")
    with zipfile.ZipFile(archive) as old:
        summary = json.loads(old.read("results/summary.json"))
    summary["attainment"] = 1.0
    extra = {"results/summary.json": json.dumps(summary).encode(), "results/figure.png": b"drawn"}
    rewritten(archive, extra, known=True)
    done = command(tmp_path, f"reproduce {archive.name} --trust-policies")
    states = ["same           config.yaml", "not run again  figure.png", "same           requests.parquet"]
    assert (done.exit_code, done.stdout.splitlines()) == (1, [*states, "differs        summary.json"])


def test_versions_that_are_others_here_are_said(elsewhere: Callable[[str], Path]) -> None:
    archive = elsewhere("search")
    with zipfile.ZipFile(archive) as old:
        manifest = json.loads(old.read("manifest.json"))
    manifest["versions"]["numpy"] = "1.0"
    done = flowsim.reproduce(
        rewritten(archive, {"manifest.json": json.dumps(manifest).encode()}, known=False), workers=1
    )
    assert done.same and done.versions.startswith("numpy (found ") and done.versions.endswith(", pinned 1.0)")
