"""Writing a folder of outputs: whole, or as if nothing had been tried."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import flowsim
from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.cli.main import main
from flowsim.errors import InputError
from flowsim.io.folders import check_ends, check_writable, writing, writing_file


def tree(folder: Path) -> dict[str, str]:
    """Every file below, with its text; folders with a slash."""
    return {
        str(path.relative_to(folder)) + ("/" if path.is_dir() else ""): "" if path.is_dir() else path.read_text()
        for path in folder.rglob("*")
    }


def fill(stage: Path) -> None:
    (stage / "a.txt").write_text("new a")
    (stage / "inner").mkdir()
    (stage / "inner" / "b.txt").write_text("new b")


NEW = {"out/": "", "out/a.txt": "new a", "out/inner/": "", "out/inner/b.txt": "new b"}


def test_a_new_folder(tmp_path: Path) -> None:
    with writing(tmp_path / "out") as stage:
        fill(stage)
    assert tree(tmp_path) == NEW
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o755


def test_missing_parents_are_made(tmp_path: Path) -> None:
    with writing(tmp_path / "deep" / "er") as stage:
        fill(stage)
    assert set(tree(tmp_path / "deep" / "er")) == {"a.txt", "inner/", "inner/b.txt"}


def test_files_of_the_same_names_are_replaced_and_others_kept(tmp_path: Path) -> None:
    (tmp_path / "out" / "inner").mkdir(parents=True)
    for name in ("a.txt", "mine.txt", "inner/b.txt", "inner/mine.txt"):
        (tmp_path / "out" / name).write_text("old")
    with writing(tmp_path / "out") as stage:
        fill(stage)
    assert tree(tmp_path) == NEW | {"out/mine.txt": "old", "out/inner/mine.txt": "old"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("exists", [False, True])
def test_a_failure_leaves_everything_as_it_was(tmp_path: Path, error: type[BaseException], exists: bool) -> None:
    if exists:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "a.txt").write_text("old")
    before = tree(tmp_path)
    with pytest.raises(error), writing(tmp_path / "out") as stage:
        fill(stage)
        raise error
    assert tree(tmp_path) == before


def test_a_full_disk_is_said_in_one_line(tmp_path: Path) -> None:
    full = pytest.raises(InputError, match=r"out: cannot be written \(No space left on device\)")
    with full, writing(tmp_path / "out") as stage:
        fill(stage)
        raise OSError(28, os.strerror(28))
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(("name", "kind"), [("a.txt", "folder"), ("inner", "file")])
def test_something_of_another_kind_in_the_way_stops_all(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / "out").mkdir()
    if kind == "folder":
        (tmp_path / "out" / name).mkdir()
    else:
        (tmp_path / "out" / name).write_text("old")
    before = tree(tmp_path)
    with pytest.raises(InputError, match=f"{name}: is in the way of a"), writing(tmp_path / "out") as stage:
        fill(stage)
    assert tree(tmp_path) == before


def test_what_cannot_be_a_folder_is_known_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="file: is a file; expected a folder, new or existing"):
        check_writable(tmp_path / "file")
    with pytest.raises(InputError, match=r"out: cannot be written \(.*file is not a writable folder\)"):
        check_writable(tmp_path / "file" / "out")
    check_writable(tmp_path / "new" / "deep")
    check_writable(tmp_path)
    assert tree(tmp_path) == {"file": "x"}


def test_a_link_to_nothing_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("deep/out")
    with writing(tmp_path / "link") as stage:
        (stage / "a.txt").write_text("a")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "deep" / "out" / "a.txt").read_text() == "a"
    (tmp_path / "file").touch()
    (tmp_path / "wrong").symlink_to("file/out")
    with pytest.raises(InputError, match=r"wrong: cannot be written \(.*file is not a writable folder\)"):
        check_writable(tmp_path / "wrong")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        for folder in (tmp_path, tmp_path / "out"):
            with pytest.raises(InputError, match="cannot be written"):
                check_writable(folder)
    finally:
        tmp_path.chmod(0o755)


def test_a_folder_that_turns_out_not_to_be_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(InputError, match=r"cannot be written \(Read-only file system\)"), writing(tmp_path / "out"):
        pytest.fail("nowhere to write")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
@pytest.mark.parametrize("command", [("validate", "example"), ("calibrate",)])
def test_a_folder_that_takes_nothing_is_one_line(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*command, "--device", "cpu", "--out", "/proc/x"])
    assert result.exit_code == 2
    assert result.stderr == "flowsim: error: /proc/x: cannot be written (No such file or directory)\n"


def test_a_file_is_replaced_when_all_of_it_is_written(tmp_path: Path) -> None:
    target = tmp_path / "t.csv"
    target.write_text("old")
    with pytest.raises(ValueError, match="stop"), writing_file(target) as partial:
        assert partial.suffix == ".csv"
        partial.write_text("half")
        raise ValueError("stop")
    assert tree(tmp_path) == {"t.csv": "old"}
    with writing_file(target) as partial:
        partial.write_text("new")
        assert target.read_text() == "old"
    assert tree(tmp_path) == {"t.csv": "new"}


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error, writing_file(tmp_path / "no" / "t.csv") as partial:
        partial.write_text("new")
    assert str(error.value) == f"{tmp_path / 'no' / 't.csv'}: cannot be written (No such file or directory)"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda wrong: flowsim.reproduce(wrong), "bundle"),
        (lambda wrong: flowsim.bundle(wrong, "x.zip"), "results"),
        (lambda wrong: flowsim.bundle("x", wrong), "out"),
        (lambda wrong: flowsim.load_trace(wrong), "trace"),
        (lambda wrong: flowsim.run("example", "fcfs", limit=5).save(wrong), "out"),
    ],
)
@pytest.mark.parametrize("wrong", [3, b"x", None])
def test_what_is_no_path_is_refused_by_the_argument(call: Callable[[Any], object], message: str, wrong: Any) -> None:
    with pytest.raises(InputError) as refused:
        call(wrong)
    assert str(refused.value).startswith(f"{message} must be text or a Path, got ")


def test_what_need_not_end_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in ("pipe", "link"):
        with pytest.raises(InputError, match=f"{name}: is a pipe or a device; expected a trace$"):
            check_ends(tmp_path / name, "a trace")
    for name in ("absent", "."):
        check_ends(tmp_path / name)


def swept(folder: Path, study: str = "study.yaml") -> None:
    (folder / study).write_text("# mine\nrun: {trace: 'synthetic:qwen:20'}\naxes: {policy: [fcfs]}\n")
    flowsim.sweep(folder / study, folder, workers=1)


RUN: Callable[[Path], object] = lambda folder: flowsim.run("synthetic:qwen:20", "fcfs").save(folder)  # noqa: E731
WRITERS: dict[str, Callable[[Path], object]] = {
    "run": RUN,
    "compare": lambda folder: flowsim.compare("synthetic:qwen:20", ["fcfs"]).save(folder),
    "sweep": swept,
    "calibrate": lambda folder: load_table("h200", "llama3-8b").save(folder),
}


@pytest.mark.parametrize(
    ("writer", "name"),
    [
        ("run", "config.yaml"),
        ("run", "summary.json"),
        ("run", "requests.parquet"),
        ("compare", "comparison.csv"),
        ("compare", "fcfs/summary.json"),
        ("calibrate", "operators.csv"),
        ("calibrate", "passes.csv"),
        ("calibrate", "provenance.yaml"),
    ],
)
def test_a_file_that_flowsim_did_not_write_is_not_replaced(tmp_path: Path, writer: str, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("a: b\n")
    with pytest.raises(InputError, match=f"{name}: would be replaced, but .*; expected another folder$"):
        WRITERS[writer](tmp_path)
    assert tree(tmp_path) == {name: "a: b\n"} | ({"fcfs/": ""} if "/" in name else {})


def test_what_flowsim_wrote_is_replaced(tmp_path: Path) -> None:
    for writer in ("run", "compare", "calibrate"):
        for _ in range(2):
            WRITERS[writer](tmp_path / writer)


def test_a_study_does_not_replace_the_file_that_it_was_read_from_nor_another_one_of_that_name(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"study.yaml: would be replaced, but there is no runs.parquet of flowsim beside it"
    ):
        swept(tmp_path)
    mine = tree(tmp_path)
    with pytest.raises(
        InputError, match=r"study.yaml: would be replaced, but there is no runs.parquet of flowsim beside it"
    ):
        swept(tmp_path, "other.yaml")
    assert set(tree(tmp_path)) == {"study.yaml", "other.yaml"}
    (tmp_path / "study.yaml").unlink()
    swept(tmp_path, "other.yaml")
    (tmp_path / "study.yaml").write_text(mine["study.yaml"])
    with pytest.raises(InputError, match=r"study.yaml: is read, and would be replaced"):
        flowsim.sweep(tmp_path / "study.yaml", tmp_path, workers=1)
    assert (tmp_path / "study.yaml").read_text() == mine["study.yaml"]


def test_a_run_does_not_replace_the_config_that_it_repeats(tmp_path: Path) -> None:
    RUN(tmp_path / "out")
    config = tmp_path / "out" / "config.yaml"
    config.write_text(f"# mine\n{config.read_text()}")
    result = CliRunner().invoke(main, ["run", str(config), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert result.stderr == f"flowsim: error: {config}: is read, and would be replaced; expected another folder\n"


@pytest.mark.parametrize("name", ["runs.jsonl", "runs.parquet"])
@pytest.mark.parametrize("writer", ["run", "compare"])
def test_no_run_is_written_into_the_folder_of_a_study(tmp_path: Path, writer: str, name: str) -> None:
    (tmp_path / name).write_text("as it was")
    with pytest.raises(InputError, match=rf"holds a study \({name}\); expected another folder"):
        WRITERS[writer](tmp_path)
    assert tree(tmp_path) == {name: "as it was"}
