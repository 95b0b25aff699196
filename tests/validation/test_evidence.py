"""Evidence on disk: what a folder holds, and what is said of one that is damaged."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowsim.core.slo_mix import SLOMix
from flowsim.errors import InputError
from flowsim.traces import Trace
from flowsim.validation.case import Case
from flowsim.validation.evidence import Accepted, Evidence, Recorded, write_about
from support.cli import refused
from support.places import DATA

KEPT = DATA / "evidence" / "h200-llama3-8b-qwen-90"
CASE = Path("runs", "chunked-2048-90.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of recorded evidence, to be damaged."""
    return Path(shutil.copytree(KEPT, tmp_path / "kept"))


def rewrite(path: Path, change: Callable[[Any], Any]) -> Any:
    values = json.loads(path.read_text())
    before = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    return before


def test_evidence_is_typed() -> None:
    evidence = Evidence.load(KEPT)
    assert repr(evidence) == f"Evidence({KEPT}: 1 case, 2 real runs)"
    assert "<th>chunked:2048, 90 %</th><td>2 real runs</td>" in evidence._repr_html_()
    assert repr(evidence.table) == "OperatorTable(provenance=Provenance(h200/llama3-8b/tp1, measured))"
    assert evidence.about.machine.gpu_name == "NVIDIA H200"
    assert evidence.about.table.sha256 == evidence.table.digest()
    assert evidence.about.cases == ["chunked-2048-90"]
    (recorded,) = evidence.recorded
    assert isinstance(recorded.distances["attainment"], Accepted)
    assert recorded.case.server.graph_tokens == 2048
    assert len(recorded.runs[0].finished_s) == len(recorded.case.arrival_s)


def test_what_is_written_is_what_was_read(tmp_path: Path) -> None:
    evidence = Evidence.load(KEPT)
    (recorded,) = evidence.recorded
    recorded.save(tmp_path)
    assert Recorded.load(tmp_path / CASE) == recorded
    written, kept = (json.loads((folder / CASE).read_text()) for folder in (tmp_path, KEPT))
    server = written["case"].pop("server")
    assert kept["case"].pop("server").items() <= server.items()  # options that came later have their defaults
    assert written == kept
    write_about(tmp_path, evidence.about)
    written, kept = (json.loads((of / "evidence.json").read_text()) for of in (tmp_path, KEPT))
    assert written["machine"].items() >= kept["machine"].items()
    assert {**written, "machine": None} == {**kept, "machine": None}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda of: of.pop("date"), ": lacks date"),
        (lambda of: of.update(date=-1), ": date must be text, got -1"),
        (lambda of: of.update(machine=None), ": machine must be a mapping of gpu, gpu_name, "),
        (lambda of: of["machine"].pop("cpu"), ": machine: lacks cpu"),
        (lambda of: of["machine"].update(torch=2), ": machine.torch must be text, got 2"),
        (lambda of: of["trace"].update(sha256=5), ": trace.sha256 must be text, got 5"),
        (lambda of: of["table"].pop("sha256"), ": table: lacks sha256"),
        (lambda of: of.update(cases=-1), ": cases must be a list (each item text), got -1"),
        (lambda of: of.update(cases=["../../else"]), ": cases[0] must be the name of a file, got '../../else'"),
        (lambda of: of.update(schema_version=9), ": schema_version must be 1, got 9"),
        (lambda of: of.pop("schema_version"), ": schema_version must be 1, got nothing"),
        (lambda of: of.update(colour=1), ": unknown field 'colour' (known: "),
    ],
)
def test_a_damaged_field_of_its_origin_is_named(folder: Path, change: Callable[[Any], Any], said: str) -> None:
    rewrite(folder / "evidence.json", change)
    with pytest.raises(InputError) as error:
        Evidence.load(folder)
    assert str(error.value).startswith(f"{folder / 'evidence.json'}{said}")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda of: of["runs"][0]["finished_s"].pop(), "runs[0].finished_s: has {less} rows; expected {n}, one per"),
        (
            lambda of: of["runs"][0].update(service_s=None),
            "runs[0].service_s must be a list (each item a number >= 0), got",
        ),
        (lambda of: of["runs"][0]["started_s"].__setitem__(0, "x"), "runs[0].started_s[0] must be a number >= 0, got"),
        (lambda of: of["case"]["arrival_s"].pop(), "case.input_length: has {n} rows; expected {less}, one per request"),
        (lambda of: of["case"]["class_code"].__setitem__(0, 7), "case.class_code must be < 4, the number of classes, "),
        (lambda of: of["case"]["class_code"].__setitem__(0, -1), "case.class_code[0] must be >= 0, got -1"),
        (lambda of: of["case"]["ttft_slo_s"].pop(), "case.ttft_slo_s: has 3 rows; expected 4, one per class"),
        (lambda of: of["case"]["arrival_s"].reverse(), "case.arrival_s[1] must be >= "),
        (lambda of: of["case"]["server"].update(slots="x"), "case.server.slots must be a whole number >= 1, got 'x'"),
        (lambda of: of["case"].update(colour=1), "case: unknown field 'colour'"),
        (lambda of: of["case"].pop("seed"), "case: lacks seed"),
        (lambda of: of.update(case=[]), "case must be a mapping of policy, load, "),
        (lambda of: of.pop("case"), "lacks case"),
        (lambda of: of.update(runs={}), "runs must be a list (each item a mapping of started_s, "),
        (lambda of: of.update(distances=3), "distances must be a mapping (each value a mapping of off, floor), got 3"),
        (lambda of: of["distances"]["attainment"].update(off="x"), "distances.attainment.off must be a number >= 0, "),
        (lambda of: of["runs"][0].update(pauses=[["x"]]), "runs[0].pauses[0][0] must be a number >= 0, got 'x'"),
        (lambda of: of["runs"][0].update(busy_s=-1), "runs[0].busy_s must be >= 0, got -1"),
        (lambda of: of["runs"][1].update(lateness_s={"p50": 0}), "runs[1].lateness_s must be a mapping of p50, p99, m"),
        (lambda of: of["runs"][0].update(hand_overs_s={"max": 1}), "runs[0].hand_overs_s must be a mapping of p50, p"),
        (lambda of: of["case"]["ttft_slo_s"].__setitem__(0, 2**70), "case.ttft_slo_s[0] must be <= 2^53, got 11805916"),
        (lambda of: of["runs"][0]["finished_s"].__setitem__(0, 1e300), "runs[0].finished_s[0] must be <= 2^53, got 1e"),
        (lambda of: of["case"]["input_length"].__setitem__(3, 2**70), "case.input_length[3] must be <= 2^53, got 118"),
        (lambda of: of["case"].update(load=0.4), "case: is chunked-2048-40; expected chunked-2048-90, after which the"),
        (lambda of: of.update(schema_version=2), "schema_version must be 1, got 2"),
    ],
)
def test_a_damaged_field_of_a_case_is_named(folder: Path, change: Callable[[Any], Any], said: str) -> None:
    before = rewrite(folder / CASE, change)
    n = len(before["case"]["arrival_s"])
    with pytest.raises(InputError) as error:
        Evidence.load(folder)
    assert str(error.value).startswith(f"{folder / CASE}: {said.format(n=n, less=n - 1)}")


def test_a_file_that_is_not_evidence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file or directory; expected evidence that flowsim"):
        Evidence.load(tmp_path)
    (tmp_path / "evidence.json").write_text("[]")
    with pytest.raises(InputError, match="must be evidence that flowsim validate wrote, got \\[\\]"):
        Evidence.load(tmp_path)
    (tmp_path / "evidence.json").write_text('{"date": "a", "date": "b"}')
    with pytest.raises(InputError, match="the key 'date' is repeated"):
        Evidence.load(tmp_path)


def test_another_operator_table_is_refused(folder: Path) -> None:
    rewrite(folder / "evidence.json", lambda of: of["table"].update(sha256="0" * 64))
    with pytest.raises(InputError) as error:
        Evidence.load(folder)
    assert str(error.value) == (f"{folder / 'table'}: is another table; expected the table with SHA-256 000000000000")


def test_policies_that_evidence_names_are_not_run_unless_they_are_trusted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (folder / "of_evidence_.py").write_text(
        "import pathlib; pathlib.Path('ran').touch()\nclass Mine: cut, wake, choose = 'none', 'events', print\n"
    )
    rewrite(folder / CASE, lambda of: of["case"].update(policy="of_evidence_:Mine"))
    (folder / CASE).rename(folder / "runs" / "of_evidence_-Mine-90.json")
    rewrite(folder / "evidence.json", lambda of: of.update(cases=["of_evidence_-Mine-90"]))
    line = f"{folder}: names policies of its own (of_evidence_:Mine), whose code is not run; expected --trust-policies"
    with pytest.raises(InputError, match=f"^{re.escape(line)}"):
        Evidence.load(folder)
    assert refused("validate", str(folder)).startswith(line)
    assert not Path("ran").exists()
    (of,) = Evidence.load(folder, trust_policies=True).recorded
    assert type(of.case.prepared(Evidence.load(folder, trust_policies=True).cost).policy).__name__ == "Mine"


def test_a_case_holds_one_slo_per_class() -> None:
    trace = Trace.of([0, 1], [1, 1], classes=["a", "a"], slo_s=[1, 2])
    with pytest.raises(InputError, match=r"^slo: differs within the class 'a'; expected one SLO per class"):
        Case.of("fcfs", None, trace, SLOMix.parse("trace").assign(trace))
