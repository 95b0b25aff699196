"""What is looked at, and what is said to be missing."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import flowsim
from flowsim.runs.doctor import Finding, libraries


def found(*requirements: str) -> list[Finding]:
    return list(libraries([Requirement(text) for text in requirements]))


def test_libraries_are_named_with_their_versions() -> None:
    assert found("numpy>=1.26") == [Finding("libraries", f"numpy {metadata.version('numpy')}", "", needed=True)]


def test_what_is_missing_or_too_old_has_a_command_that_adds_it() -> None:
    (one,) = found("numpy>=1.26", "pandas>=99", "no-such-library>=2")
    assert f"pandas {metadata.version('pandas')} (needed: >=99), no-such-library is missing" in one.found
    assert one.remedy == "pip install 'pandas>=99' 'no-such-library>=2'"


def test_an_extra_says_what_it_is_for_and_is_not_needed() -> None:
    _, one = found("numpy>=1.26", "no-such-library>=2; extra == 'dask'")
    assert one == Finding(
        "extra dask", "to run studies on a cluster: no-such-library is missing", "pip install 'flowsim[dask]'"
    )


def test_extras_that_only_developers_want_are_left_out() -> None:
    assert [one.name for one in found("no-such-library; extra == 'dev'")] == ["libraries"]


def test_what_another_python_needs_is_left_out() -> None:
    assert found("no-such-library; python_version < '3'")[0] == Finding("libraries", "", "", needed=True)


def test_your_tables_are_where_the_variable_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLOWSIM_TABLES", str(tmp_path / "mine"))
    said = {one.name: one.found for one in flowsim.doctor()}
    assert said["your data"] == f"{tmp_path / 'mine'} (does not exist yet)"
    assert said["tables"].endswith(" of flowsim; 0 of yours") and "h100, h200" in said["tables"]
    (tmp_path / "mine").mkdir()
    assert {one.name: one.found for one in flowsim.doctor()}["your data"] == str(tmp_path / "mine")


def test_without_torch_no_gpu_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert {one.name: one.found for one in flowsim.doctor()}["GPU"] == (
        "not looked for, without torch; simulating needs none"
    )
