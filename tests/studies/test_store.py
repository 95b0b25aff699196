"""The folder of a study: what was begun goes on, a study may grow, and what is foreign is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import flowsim
from flowsim.errors import InputError
from flowsim.studies.store import JOURNAL, SEALED
from flowsim.studies.study import Study
from support.studies import STUDY, bytes_of


def record(**fields: object) -> bytes:
    """A line of a journal."""
    body = json.dumps(fields).encode()
    return f'{{"crc32": {zlib.crc32(body)}, '.encode() + body[1:] + b"\n"


def test_a_second_start_runs_nothing(whole: Path) -> None:
    before = bytes_of(whole)
    assert flowsim.sweep(STUDY, whole, workers=1).new == 0
    assert bytes_of(whole) == before


def test_a_row_that_was_cut_off_is_run_again(whole: Path, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int, doing: str) -> None:
        if done:
            raise Stop

    with pytest.raises(Stop):
        flowsim.sweep(STUDY, tmp_path / "out", workers=1, progress=stop)
    journal = tmp_path / "out" / JOURNAL
    journal.write_bytes(journal.read_bytes() + b'{"crc32": 123, "key": "half a ro')
    half = flowsim.load_runs(tmp_path / "out").table
    assert 0 < len(half) < 18
    assert flowsim.sweep(STUDY, tmp_path / "out", workers=1).new == 18 - len(half)
    assert bytes_of(tmp_path / "out") == bytes_of(whole)


def test_a_study_that_grows_runs_what_is_new_and_one_that_shrinks_is_refused(tmp_path: Path) -> None:
    small = {"run": STUDY["run"], "axes": {**STUDY["axes"], "policy": ["fcfs"]}}
    flowsim.sweep(small, tmp_path, workers=1)
    more = {"run": STUDY["run"], "axes": {**STUDY["axes"], "policy": ["chunked:512", "fcfs"]}}
    runs = flowsim.sweep(more, tmp_path, workers=1)
    assert (runs.new, len(runs.table)) == (6, 12)
    before = bytes_of(tmp_path)
    with pytest.raises(InputError, match=r"holds 6 runs that are not part of this study; expected a new folder"):
        flowsim.sweep(small, tmp_path, workers=1)
    assert bytes_of(tmp_path) == before


@pytest.mark.parametrize("first", [[1, 2], [0, 1]])
def test_a_study_that_has_grown_has_the_bytes_of_one_that_was_whole_from_the_start(
    first: list[int], tmp_path: Path
) -> None:
    run = {"trace": "synthetic:qwen:60", "warmup": 0.1}
    small, large = ({"run": run, "axes": {"policy": ["fcfs", "edf"], "seed": seeds}} for seeds in (first, [0, 1, 2]))
    assert flowsim.sweep(small, tmp_path / "grown", workers=1).new == 4
    assert flowsim.sweep(large, tmp_path / "grown", workers=1).new == 2
    flowsim.sweep(large, tmp_path / "whole", workers=1)
    assert bytes_of(tmp_path / "grown") == bytes_of(tmp_path / "whole")


def test_the_options_are_those_that_the_study_writes_however_they_were_written_before(tmp_path: Path) -> None:
    def swept(*policies: str, **more: Any) -> flowsim.Runs:
        axes: dict[str, Any] = {"policy": list(policies), **more}
        return flowsim.sweep(
            {"run": {"trace": "example", "workload.limit": 40}, "axes": axes}, tmp_path / "out", workers=1
        )

    assert swept("flowprefill:cut=operator").table["policy"].tolist() == ["flowprefill:cut=operator"]
    short = swept("flowprefill")
    assert (short.new, short.table["policy"].tolist()) == (0, ["flowprefill"])
    both = swept("fcfs", "flowprefill", "flowprefill:cut=operator")
    assert (both.new, both.table["policy"].tolist()) == (1, ["fcfs", "flowprefill"])
    compared = both.differences("attainment", against="flowprefill:cut=operator")
    assert compared[["policy", "against"]].values.tolist() == [["fcfs", "flowprefill"]]


def test_numbers_and_texts_go_on_one_axis(tmp_path: Path) -> None:
    axes: dict[str, Any] = {"policy.budget": [512, "2048"]}
    study = {"run": {"trace": "example", "workload.limit": 40, "policy": "chunked"}, "axes": axes}
    runs = flowsim.sweep(study, tmp_path, workers=1)
    assert runs.table["policy.budget"].tolist() == ["512", "2048"]
    assert runs.table["policy"].tolist() == ["chunked:budget=512", "chunked:budget=2048"]


def test_while_a_study_goes_on_its_runs_have_the_kinds_they_will_have(tmp_path: Path) -> None:
    def look(done: int, total: int, doing: str) -> None:
        if done:
            seen.append(flowsim.load_runs(tmp_path / "out").table)

    seen: list[pd.DataFrame] = []
    flowsim.traces.write_trace(flowsim.example_trace().head(40), tmp_path / "7", layout="jsonl")
    study = Study.of({"run": {"trace": "7", "slo": "0.5"}, "axes": {"policy": ["fcfs", "edf"]}}, root=tmp_path)
    runs = flowsim.sweep(study, tmp_path / "out", workers=1, progress=look)
    pd.testing.assert_frame_equal(seen[-1], runs.table)
    assert seen[-1][["trace", "slo.mix"]].values.tolist() == [["7", "0.5"]] * 2


def test_the_study_that_is_kept_runs_again_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    flowsim.traces.write_trace(flowsim.example_trace().head(40), tmp_path / "in" / "trace.jsonl")
    (tmp_path / "in" / "slo.yaml").write_text("ttft_s: {'*': 1.0}")
    (tmp_path / "in" / "study.yaml").write_text(
        "run: {slo: slo.yaml}\naxes: {policy: [fcfs]}\n"
        "points: [{trace: trace.jsonl}, {trace: example, workload.limit: 30}]"
    )
    once = flowsim.sweep(tmp_path / "in" / "study.yaml", tmp_path / "out", workers=1)
    again = flowsim.sweep(tmp_path / "out" / "study.yaml", tmp_path / "new", workers=1)
    assert (once.new, again.new) == (2, 2)
    assert again.table["key"].tolist() == once.table["key"].tolist()
    assert flowsim.sweep(tmp_path / "out" / "study.yaml", tmp_path / "out", workers=1).new == 0


def test_requests_are_kept_when_asked_for(tmp_path: Path) -> None:
    study = {
        "run": {"trace": "example", "workload.limit": 40},
        "axes": {"policy": ["fcfs", "flowprefill"]},
        "requests": True,
    }
    one, two = (flowsim.sweep(study, tmp_path / str(n), workers=n) for n in (1, 2))
    assert bytes_of(tmp_path / "1") == bytes_of(tmp_path / "2")
    assert one.folder is not None and two.new == 2
    kept = pd.read_parquet(one.folder / "requests")
    assert kept.groupby("key").size().tolist() == [40, 40]
    assert flowsim.sweep(study, tmp_path / "1", workers=1).new == 0
    place, other = sorted((tmp_path / "1" / "requests").iterdir())
    content = place.read_bytes()
    for damaged in (b"", content[:-1], content[:99] + bytes(len(content) - 99)):
        place.write_bytes(damaged)
        assert flowsim.sweep(study, tmp_path / "1", workers=1).new == 1
        assert bytes_of(tmp_path / "1") == bytes_of(tmp_path / "2")
    place.unlink()
    other.unlink()
    assert flowsim.sweep(study, tmp_path / "1", workers=1).new == 2


def test_files_among_the_requests_that_the_study_did_not_write_stay(tmp_path: Path) -> None:
    run = {"trace": "synthetic:qwen:20"}
    for name, requests in (("plain", False), ("kept", True), ("linked", True)):
        place = tmp_path / name / "requests"
        (tmp_path / name).mkdir()
        if name == "linked":
            (tmp_path / "elsewhere").mkdir()
            place.symlink_to(tmp_path / "elsewhere")
        place.mkdir(exist_ok=True)
        (place / "mine.parquet").write_bytes(b"mine")
        flowsim.sweep({"run": run, "axes": {"policy": ["fcfs"]}, "requests": requests}, tmp_path / name, workers=1)
        assert (place / "mine.parquet").read_bytes() == b"mine"
        assert len(list(place.iterdir())) == 1 + requests


def test_two_sweeps_do_not_write_one_folder(tmp_path: Path) -> None:
    def again(done: int, total: int, doing: str) -> None:
        with pytest.raises(InputError, match="is in use by another command"):
            flowsim.sweep(STUDY, tmp_path, workers=1)
        assert (tmp_path / JOURNAL).read_bytes().count(b"\n") == done

    flowsim.sweep(STUDY, tmp_path, workers=1, progress=again)


@pytest.mark.parametrize("kind", ["a run", "a comparison"])
def test_the_folder_of_a_run_or_a_comparison_is_refused(kind: str, tmp_path: Path) -> None:
    if kind == "a run":
        flowsim.run("synthetic:qwen:20", "fcfs").save(tmp_path)
    else:
        flowsim.compare("synthetic:qwen:20", ["fcfs", "edf"]).save(tmp_path)
    before = bytes_of(tmp_path)
    message = rf"holds {kind} \(\w+\.\w+\); expected a new folder, or one of this study$"
    with pytest.raises(InputError, match=message):
        flowsim.sweep(STUDY, tmp_path, workers=1)
    with pytest.raises(InputError, match=message):
        flowsim.capacity("example", ["fcfs"], out=tmp_path, workers=1)
    assert bytes_of(tmp_path) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"step": 1, "loss": 0.5', "line 1: is not a record of a journal"),
        (b'{"a": 1}', "line 1: is not a record of a journal"),
        (b"notes of mine", "line 1: is not a record of a journal"),
        (b"\0" * 40 + b"\n", "line 1: is not a record of a journal"),
        (record(size=3), " is not the journal of a study; expected what flowsim sweep or capacity wrote"),
        (record(key="a", error=3), " is not the journal of a study; expected"),
    ],
)
def test_a_damaged_or_foreign_journal_is_refused_and_kept(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_bytes(content)
    with pytest.raises(InputError) as refused:
        flowsim.sweep(STUDY, tmp_path, workers=1)
    assert str(refused.value).startswith(f"{tmp_path / JOURNAL}: {message.lstrip()}")
    assert (tmp_path / JOURNAL).read_bytes() == content
    if content.endswith(b"\n"):
        with pytest.raises(InputError, match="is not "):
            flowsim.load_runs(tmp_path)


def test_what_is_no_parquet_file_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / SEALED).write_bytes(b"PAR1 and no more")
    for attempt in (lambda: flowsim.load_runs(tmp_path), lambda: flowsim.sweep(STUDY, tmp_path, workers=1)):
        with pytest.raises(InputError, match=r"runs.parquet: cannot be read \(.*remove it to run the study again$"):
            attempt()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("attainment", 2.5, "row 1: attainment must be a share from 0 to 1, got 2.5"),
        ("attainment_text", -0.5, "row 1: attainment_text must be a share from 0 to 1, got -0.5"),
        ("utilization", 7.0, "row 1: utilization must be a share from 0 to 1, got 7.0"),
        ("attainment", "all", "row 1: attainment must be a number, got 'all'"),
        ("ttft_p99_s", -1.0, "row 1: ttft_p99_s must be a number >= 0, got -1.0"),
        ("attainment", None, "has no column attainment; expected what flowsim sweep or capacity wrote"),
        ("error", None, "has no column error; expected what flowsim sweep or capacity wrote"),
        ("policy", None, "has no column policy; expected what flowsim sweep or capacity wrote"),
        ("arrivals_sha256", None, "has no column arrivals_sha256; expected what flowsim sweep or capacity wrote"),
        ("key", 7, "row 1: key must be text, got 7"),
        ("cost_model_kind", 2.5, "row 1: cost_model_kind must be text, got 2.5"),
        ("warmup", "some", "row 1: warmup must be a number, got 'some'"),
        ("cost_model_stated_error", "x", "row 1: cost_model_stated_error must be a number, got 'x'"),
        ("span_s", "x", "row 1: span_s must be a number, got 'x'"),
        ("goodput_rps_text", "x", "row 1: goodput_rps_text must be a number, got 'x'"),
    ],
)
def test_what_no_run_gives_is_refused(tmp_path: Path, whole: Path, column: str, value: object, message: str) -> None:
    table = pd.read_parquet(whole / SEALED)
    (table.drop(columns=column) if value is None else table.assign(**{column: value})).to_parquet(tmp_path / SEALED)
    for attempt in (lambda: flowsim.load_runs(tmp_path), lambda: flowsim.plot(tmp_path)):
        with pytest.raises(InputError) as refused:
            attempt()
        assert str(refused.value) == f"{tmp_path / SEALED}: {message}"


EDITS: list[Callable[[pa.Table], pa.Table]] = [
    lambda table: table.set_column(table.column_names.index("late"), "late", pa.array([10**6] * len(table))),
    lambda table: table.set_column(table.column_names.index("key"), "key", table["key"][::-1]),
    lambda table: pa.concat_tables([table, table.slice(0, 1)]),
    lambda table: table.slice(1),
    lambda table: table.rename_columns(
        [{"ttft_p50_s": "ttft_p99_s", "ttft_p99_s": "ttft_p50_s"}.get(name, name) for name in table.column_names]
    ),
    lambda table: table.replace_schema_metadata(None),
]


@pytest.mark.parametrize("edit", EDITS)
def test_a_table_that_was_edited_is_refused(tmp_path: Path, whole: Path, edit: Callable[[pa.Table], pa.Table]) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    pq.write_table(edit(pq.read_table(whole / SEALED)), tmp_path / SEALED, compression="zstd")
    before = bytes_of(tmp_path)
    more = {**STUDY, "axes": {**STUDY["axes"], "seed": [0, 1, 2, 3, 4, 5, 6, 7]}}
    for attempt in (
        lambda: flowsim.load_runs(tmp_path),
        lambda: flowsim.plot(tmp_path),
        lambda: flowsim.sweep(STUDY, tmp_path, workers=1),
        lambda: flowsim.sweep(more, tmp_path, workers=1),
    ):
        with pytest.raises(InputError, match=r"runs\.parquet: was changed after it was written"):
            attempt()
    assert bytes_of(tmp_path) == before


def test_columns_of_other_types_are_refused(tmp_path: Path, whole: Path) -> None:
    for value, kind in ((b"x", "binary"), ([1], "list<element: int64>")):
        table = pd.read_parquet(whole / SEALED)
        table.assign(attainment=[value] * len(table)).to_parquet(tmp_path / SEALED)
        for attempt in (lambda: flowsim.load_runs(tmp_path), lambda: flowsim.sweep(STUDY, tmp_path, workers=1)):
            with pytest.raises(InputError) as refused:
                attempt()
            assert f"runs.parquet: column attainment: is of type {kind}; expected" in str(refused.value)


@pytest.mark.parametrize("text", [b"foo: [", b"[]", b"{}", b"\0" * 99, b"\xba\xff", b""])
def test_a_damaged_study_yaml_is_said_in_one_line(tmp_path: Path, whole: Path, text: bytes) -> None:
    (tmp_path / SEALED).write_bytes((whole / SEALED).read_bytes())
    (tmp_path / "study.yaml").write_bytes(text)
    if text == b"{}":
        assert flowsim.load_runs(tmp_path).title == ""
        return
    with pytest.raises(InputError, match=r"^\S+study\.yaml"):
        flowsim.load_runs(tmp_path)
    with pytest.raises(InputError, match=r"is not|is empty|must be|lacks"):
        flowsim.bundle(tmp_path, tmp_path / "x.zip")
    assert flowsim.sweep(STUDY, tmp_path, workers=1).new == 0


MINE = """
from dataclasses import dataclass
import helperkey
from flowsim import Moving, Pass, Request
K = Moving(key=lambda request, now: helperkey.SIGN * request.arrival_s)
@dataclass(frozen=True)
class Mine:
    cut: str = "none"
    wake: str = "events"
    def choose(self, view):
        best = view.first(K)
        return Pass.whole(best) if isinstance(best, Request) else best
"""


def test_a_changed_module_that_a_policy_imports_runs_its_rows_again_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "mypol.py").write_text(MINE)
    (tmp_path / "s.yaml").write_text(
        'run: {trace: example, workload.rate_scale: 8}\naxes: {policy: ["mypol:Mine", fcfs]}\nrequests: true\n'
    )
    attained = {}
    for sign, said in ((1, "2 new"), (1, "all done before"), (-1, "1 new")):
        (tmp_path / "helperkey.py").write_text(f"SIGN = {sign}\n")
        main = "from flowsim.cli.main import main; main()"
        command = [sys.executable, "-c", main, "sweep", "s.yaml", "--out", "o", "--workers", "1"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert said in done.stdout
        attained[sign] = flowsim.load_runs(tmp_path / "o").table["attainment"].round(3).tolist()
    assert attained == {1: [0.175, 0.205], -1: [0.68, 0.205]}
    assert len(list((tmp_path / "o" / "requests").iterdir())) == 2


def test_the_name_of_a_folder_may_look_like_an_address(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flowsim.sweep(STUDY, "s3:out", workers=1)
    assert flowsim.sweep(STUDY, "s3:out", workers=1).new == 0
    assert bytes_of(Path("s3:out")) == bytes_of(whole)
    assert len(flowsim.load_runs("s3:out").table) == 18
