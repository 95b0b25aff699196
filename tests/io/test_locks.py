"""A folder is used by one process at a time."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flowsim.errors import InputError
from flowsim.io.locks import FOREVER_S, locked, locked_file


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(InputError, match=r"round: cannot be written \(File exists\)"), locked(tmp_path / "round"):
        pytest.fail("a link to itself")


@pytest.mark.parametrize("name", ["out", "deep/er/out"])
def test_a_folder_is_locked_and_removed_again_if_it_is_still_empty(tmp_path: Path, name: str) -> None:
    with locked(tmp_path / name):
        with pytest.raises(InputError, match="out: is in use by another command"), locked(tmp_path / name):
            pytest.fail("two at once")
        assert (tmp_path / name).is_dir()
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / name):
        (tmp_path / name / "a.txt").write_text("mine")
    with locked(tmp_path / name):
        pass
    assert (tmp_path / name / "a.txt").read_text() == "mine"
    with pytest.raises(InputError, match="cannot be written"), locked(tmp_path / name / "a.txt"):
        pytest.fail("not a folder")
    assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["a.txt"]
    assert not list(tmp_path.rglob(".*.lock"))


def test_a_folder_may_be_replaced_while_it_is_locked(tmp_path: Path) -> None:
    with locked(tmp_path / "out"):
        (tmp_path / "out").rename(tmp_path / "old")
        (tmp_path / "out").mkdir()
        with pytest.raises(InputError, match="out: is in use"), locked(tmp_path / "out"):
            pytest.fail("two at once")


def test_who_waits_for_a_file_gets_it_afterwards(tmp_path: Path) -> None:
    order = []

    def wait() -> None:
        with locked_file(tmp_path / "lock", FOREVER_S):
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with locked_file(tmp_path / "lock"):
            with pytest.raises(TimeoutError), locked_file(tmp_path / "lock"):
                pytest.fail("two at once")
            waiting = pool.submit(wait)
            order.append("first")
        waiting.result()
    assert order == ["first", "second"]
    assert list(tmp_path.iterdir()) == []


def test_flowsim_needs_no_lock_of_one_operating_system() -> None:
    """Windows has no fcntl."""
    script = "import sys; sys.modules['fcntl'] = None; import flowsim.cli.main, flowsim.studies.store, flowsim.io.locks"
    subprocess.run([sys.executable, "-c", script], check=True)
