"""`flowsim validate` from end to end on the CPU, and the evidence it leaves."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from msgspec import structs

import flowsim
from flowsim.calibration.costs.catalogue import load_table
from flowsim.calibration.costs.fit_record import MeasuredRange
from flowsim.calibration.costs.models import ModelSpec
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.measure.calibrate import calibrate
from flowsim.calibration.serve import replay as executor
from flowsim.calibration.serve import warm_up as serving
from flowsim.cli.main import main
from flowsim.core.slo import SLOMix
from flowsim.io.locks import locked
from flowsim.validation.case import Case
from flowsim.validation.compared import compared
from flowsim.validation.evidence import Evidence
from flowsim.validation.plan import Plan, shortfalls
from support.costs import GRID

torch = pytest.importorskip("torch")

SPEC = ModelSpec("tiny", 2, 64, 4, 2, 16, 128, 97, 2048, 10000.0, 1e-5)
TABLE = ("operators.csv", "passes.csv", "provenance.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace of 60 requests in 3 s, a model's shape, and its operator table, measured on this CPU."""
    folder = tmp_path_factory.mktemp("validate")
    rng = np.random.default_rng(1)
    trace = flowsim.Trace.of(np.cumsum(rng.exponential(0.05, 60)), rng.choice([20, 60, 500], 60, p=[0.6, 0.3, 0.1]))
    flowsim.traces.write_trace(trace, folder / "trace.jsonl")
    calibrate(SPEC, device="cpu", grid=GRID).save(folder / "table")
    about = yaml.safe_load((folder / "table" / "provenance.yaml").read_text())
    (folder / "tiny.yaml").write_text(yaml.safe_dump(about["model_spec"]))
    return folder


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `evidence` shows once is not drawn again, and nothing is collected for the sake of steady times."""
    monkeypatch.setattr("flowsim.validation.report.picture", lambda of: b"png")
    monkeypatch.setattr("flowsim.calibration.gpu.quiet_host.gc.collect", lambda *generation: 0)


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def command(out: str, *more: str) -> list[str]:
    """A validation of two policies; what `more` gives stands in place of what is given here."""
    policies = ["--policy", "fcfs", "--policy", "flowprefill"]
    plan = {"--rate-scale": "4", "--window": "0.6", "--slo": "0.1"}
    place = {"--cost": "table", "--model": "tiny.yaml", "--device": "cpu", "--out": out}
    kept = [word for name, value in {**plan, **place}.items() if name not in more for word in (name, value)]
    return ["validate", "trace.jsonl", *policies, *kept, *more]


def invoke(arguments: list[str]) -> Result:
    return CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def evidence(folder: Path) -> Iterator[tuple[Evidence, Result]]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        result = invoke(command("evidence"))
        assert result.exit_code == 0, result.output
        yield Evidence.load(folder / "evidence"), result
    finally:
        os.chdir(before)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_validation_leaves_evidence_figures_and_a_page(evidence: tuple[Evidence, Result], folder: Path) -> None:
    slugs = [of.case.slug for of in evidence[0].recorded]
    assert [slug.partition("-")[0] for slug in slugs] == ["fcfs", "flowprefill"]
    runs = {f"runs/{slug}.json" for slug in slugs} | {f"figures/{slug}.png" for slug in slugs}
    table = {f"table/{name}" for name in TABLE}
    assert files(folder / "evidence") == runs | table | {"evidence.json", "validation.html"}
    assert "per request" in evidence[1].output
    assert "measures of 2 cases pass" in evidence[1].output
    page = (folder / "evidence" / "validation.html").read_text()
    assert page.count("data:image/png") == 2
    assert "http" not in page


def test_the_evidence_says_where_it_comes_from(evidence: tuple[Evidence, Result], folder: Path) -> None:
    about = evidence[0].about
    assert about.machine.gpu_name == "CPU"
    assert about.table.sha256 == evidence[0].table.digest()
    assert about.trace.sha256 == flowsim.load_trace(folder / "trace.jsonl").sha256
    assert about.options["model"].endswith("tiny.yaml")
    assert str(folder) not in (folder / "evidence" / "evidence.json").read_text()


def test_all_cases_are_run_once_before_any_is_run_again(evidence: tuple[Evidence, Result]) -> None:
    said = re.findall(r"run (\d) of 2: ([^,]*),", evidence[1].stderr)
    assert said == [("1", "fcfs"), ("1", "flowprefill"), ("2", "fcfs"), ("2", "flowprefill")]


def test_every_request_was_executed_in_both_runs(evidence: tuple[Evidence, Result]) -> None:
    for of in compared(evidence[0]):
        assert len(of.real) == 2
        for run in of.real:
            assert run.summary["finished"] == len(of.case.arrival_s)
            assert np.isfinite(run.ttft_s).all()
        assert {name: d.off for name, d in of.distances.items()} == {
            name: d.off for name, d in of.recorded.distances.items()
        }


def test_a_case_is_what_run_replays(here: Path) -> None:
    trace = flowsim.load_trace("trace.jsonl")
    slo = SLOMix.parse("0.1").assign(trace)
    server = flowsim.ServerOptions(kv_tokens=9000)
    case = Case.of("flowprefill", 0.5, trace, slo, server=server, predictor="cubic", seed=0)
    cost = flowsim.load_cost("table")
    expected = flowsim.run(trace, "flowprefill", cost=cost, slo=0.1, server=server)
    assert case.simulate(cost).ttft_s == pytest.approx(expected.ttft_s, abs=3e-6)
    assert case.name == "flowprefill, 50 %"
    assert case.slug == "flowprefill-50"


def test_evidence_is_compared_anew_without_running(
    evidence: tuple[Evidence, Result], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "execute", None)
    again = invoke(["validate", "evidence"])
    assert again.exit_code == 0, again.output
    assert again.stdout == evidence[1].stdout
    before = Path("evidence", "evidence.json").read_bytes()
    monkeypatch.setattr(sys.modules["flowsim.validation.validate"], "version", lambda name: "9.9")
    same = invoke(command("evidence"))  # all has been run
    assert same.exit_code == 0, same.output
    assert Path("evidence", "evidence.json").read_bytes() == before  # of the runs, not of today


def test_accepted_evidence_holds_later_simulations_to_that_of_today(
    evidence: tuple[Evidence, Result], here: Path
) -> None:
    shutil.copytree("evidence", "accepted")
    (path, *_) = sorted(Path("accepted", "runs").iterdir())
    recorded = json.loads(path.read_text())
    kept = recorded["distances"]
    path.write_text(json.dumps(recorded | {"distances": {}}))
    assert invoke(["validate", "accepted"]).exit_code == 0
    assert json.loads(path.read_text())["distances"] == {}
    assert invoke(["validate", "accepted", "--accept"]).exit_code == 0
    assert json.loads(path.read_text())["distances"] == kept
    refused = invoke(["validate", "trace.jsonl", "--accept"])
    assert refused.exit_code == 2
    assert "--accept: given with a trace; expected folders of evidence" in refused.stderr


def test_several_folders_make_one_page(evidence: tuple[Evidence, Result], here: Path) -> None:
    shutil.copytree("evidence", "other")
    about = json.loads(Path("other", "evidence.json").read_text())
    about["trace"]["name"], about["cases"] = "elsewhere", about["cases"][:1]
    Path("other", "evidence.json").write_text(json.dumps(about))
    result = invoke(["validate", "evidence", "other", "--out", "both"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line for line in lines if line.startswith("folder   ")] == ["folder   1: evidence", "folder   2: other"]
    first = [
        word
        for word in (line.partition(" ")[0] for line in lines)
        if word in ("trace", "policy", "fcfs", "flowprefill")
    ]
    assert first == ["trace", "policy", "fcfs", "flowprefill", "trace", "policy", "fcfs"]
    assert "measures of 3 cases pass" in result.stdout
    assert [path.name.partition("-")[0] for path in sorted(Path("both", "figures").iterdir())] == ["1", "1", "2"]
    page = Path("both", "validation.html").read_text()
    assert page.count("data:image/png") == 3
    assert page.count("(folder 2)</h2>") == 1


def test_the_page_of_one_folder_goes_where_it_is_asked_for(evidence: tuple[Evidence, Result], here: Path) -> None:
    before = (here / "evidence" / "validation.html").stat().st_mtime_ns
    result = invoke(["validate", "evidence", "--out", "page", "--quiet"])
    assert result.exit_code == 0, result.output
    figures = {f"figures/{of.case.slug}.png" for of in evidence[0].recorded}
    assert files(here / "page") == figures | {"validation.html"}
    assert (here / "evidence" / "validation.html").stat().st_mtime_ns == before
    assert invoke(["validate", "evidence", "--out", "./evidence", "-q"]).exit_code == 0
    assert (here / "evidence" / "validation.html").stat().st_mtime_ns > before


def test_evidence_without_runs_and_runs_that_are_missing_are_said(
    evidence: tuple[Evidence, Result], here: Path
) -> None:
    shutil.copytree("evidence", "holes")
    first, second = (of.case.slug for of in evidence[0].recorded)
    Path("holes", "runs", f"{first}.json").unlink()
    part = invoke(["validate", "holes"])
    assert part.exit_code == 0, part.output
    assert part.stderr == f"holes: lacks runs/{first}.json, so this case is left out\n"
    assert "measures of 1 case" in part.stdout
    Path("holes", "runs", f"{second}.json").unlink()
    none = invoke(["validate", "evidence", "holes"])
    assert none.exit_code == 2
    assert none.stderr == ("flowsim: error: holes: holds no run; expected flowsim validate TRACE --out holes first\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evidence", "--load", "0.1", "--policy", "sjf"], "--policy, --load: given with evidence; expected --out,"),
        (["evidence", "--cost", "table", "--graph-tokens", "0"], "--cost, --graph-tokens: given with evidence"),
        (["evidence", "--out", "other"], "--out other: holds evidence of its own"),
        (["empty"], "empty: has no evidence.json; expected one trace, or folders that flowsim validate wrote"),
        (["evidence", "trace.jsonl"], "trace.jsonl: has no evidence.json; expected one trace, or folders that"),
        (["trace.jsonl", "trace.jsonl"], "trace.jsonl: has no evidence.json"),
        (["evidence", "evidence"], "evidence: is given twice"),
        (["evidence", "other", "--out", "evidence"], "--out evidence: holds evidence of its own"),
    ],
)
def test_several_of_something_else_are_refused(
    evidence: tuple[Evidence, Result], here: Path, arguments: list[str], said: str
) -> None:
    if not Path("other").exists():
        shutil.copytree("evidence", "other")
    Path("empty").mkdir(exist_ok=True)
    result = invoke(["validate", *arguments])
    assert result.exit_code == 2
    assert said in result.stderr


def test_more_policies_and_loads_are_added(
    evidence: tuple[Evidence, Result], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = invoke(command("more", "--repeats", "1"))
    assert result.exit_code == 0, result.output
    arguments = command("more", "--repeats", "1")
    arguments[arguments.index("fcfs")] = "edf:cut=layer"
    added = invoke(arguments)
    assert added.exit_code == 0, added.output
    assert added.stderr.count("run 1 of 1") == 1
    assert len(Evidence.load("more").recorded) == 3


def test_loads_are_shares_of_the_capacity(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = ("--load", "0.25", "--load", "0.5", "--window", "0.1", "--slo", "60")
    arguments = [
        a for a in command("loads", "--repeats", "1", "--policy", "fcfs", *loads) if a not in ("--rate-scale", "4")
    ]
    arguments[arguments.index("flowprefill")] = "chunked:128"
    del arguments[arguments.index("fcfs") - 1 : arguments.index("fcfs") + 1]
    result = invoke(arguments)
    assert result.exit_code == 0, result.output
    rates = {of.case.name: of.case.rate_rps for of in Evidence.load("loads").recorded}
    assert rates["fcfs, 50 %"] == pytest.approx(2 * rates["fcfs, 25 %"], rel=1e-4)
    assert set(rates) == {f"{p}, {load} %" for p in ("fcfs", "chunked:128") for load in (25, 50)}
    arguments[arguments.index("--repeats") + 1] = "2"  # the rates stay, even if a simulation found others by now
    monkeypatch.setattr("flowsim.validation.plan.highest_rate", lambda *given: pytest.fail("searched anew"))
    again = invoke(arguments)
    assert again.exit_code == 0, again.output
    assert again.stderr.count("run 2 of 2") == 4
    assert {of.case.name: of.case.rate_rps for of in Evidence.load("loads").recorded} == rates


def test_a_trace_that_ends_before_the_window_is_said(evidence: tuple[Evidence, Result], here: Path) -> None:
    trace = flowsim.load_trace("trace.jsonl")
    result = invoke(command("short", "--repeats", "1", "--window", "6"))
    assert result.exit_code == 0, result.output
    said = f"trace.jsonl has 60 requests for a window of 6 s: they last {trace.span_s / 4:.1f} s"
    assert result.stderr.count(said) == 1
    assert "for a window of" not in evidence[1].stderr
    cases = [of.case for of in Evidence.load("short").recorded]
    loaded = [structs.replace(cases[0], arrival_s=[t * k for t in cases[0].arrival_s], rate_rps=40 / k) for k in (1, 2)]
    costs = Evidence.load("short").cost
    (said,) = shortfalls(Plan("trace.jsonl", window_s=6.0), loaded, costs)
    assert said.endswith(f"they last {trace.span_s / 4:.1f} to {trace.span_s / 2:.1f} s")


def test_a_cache_that_holds_no_prompt_is_refused(here: Path) -> None:
    result = invoke(command("none", "--kv-tokens", "16"))
    assert result.exit_code == 2
    assert result.stderr.endswith("error: kv_tokens: is 16, too small for the shortest prompt; expected >= 20\n")
    assert not Path("none").exists()


def test_prompts_beyond_the_measured_sizes_are_said(evidence: tuple[Evidence, Result], here: Path) -> None:
    case, costs = evidence[0].recorded[0].case, Evidence.load("evidence").cost
    assert costs.provenance is not None
    costs.provenance = replace(costs.provenance, measured=MeasuredRange(tokens=499, chunk_tokens=0, context=0))
    said = f"extrapolated, for they reach beyond the measured sizes: {case.input_length.count(500)} of "
    plan, all_said = Plan("trace.jsonl", rate_scale=4.0), [f"{said}{len(case.input_length)} prompts"]
    assert list(shortfalls(plan, [case], costs)) == all_said
    spec = structs.replace(costs.provenance.table.model_spec, max_context=499)
    costs.provenance = replace(costs.provenance, table=structs.replace(costs.provenance.table, model_spec=spec))
    deep = f"longer than the model's context of 499 tokens: {case.input_length.count(500)} of "
    assert list(shortfalls(plan, [case], costs)) == [f"{deep}{len(case.input_length)} prompts", *all_said]


def test_prompts_that_the_cache_cannot_hold_are_said_and_rejected_in_both(here: Path) -> None:
    result = invoke(command("small", "--repeats", "1", "--kv-tokens", "128"))
    assert result.exit_code == 0, result.output
    (of, _) = Evidence.load("small").recorded
    long = sum(n > 128 for n in of.case.input_length)
    assert long
    assert f"need more KV cache than there is: {long} of {len(of.case.input_length)} prompts" in result.stderr
    assert of.runs[0].finished_s.count(None) == long
    (compared_, _) = compared(Evidence.load("small"))
    assert [r.summary["rejected"] for r in compared_.results.values()] == [long, long]


def test_without_a_table_the_device_is_measured_first(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowsim.validation.validate.QUICK", GRID)
    arguments = [a for a in command("measured", "--quick", "--repeats", "1") if a not in ("--cost", "table")]
    result = invoke(arguments)
    assert result.exit_code == 0, result.output
    notes = Evidence.load("measured").table.provenance.notes
    assert "kernels: split not used: left out" in notes
    assert not Path("measured.journal").exists()


# When something goes wrong.


def test_an_interrupted_validation_keeps_what_has_ended_and_goes_on(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = executor.execute, 0

    def interrupted(*args: object, **options: object) -> executor.Replay:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(executor, "execute", interrupted)
    first = invoke(command("broken"))
    assert first.exit_code == 130
    assert first.stderr.endswith("flowsim: interrupted\n")
    runs = [path.name for path in Path("broken", "runs").iterdir()]
    assert len(runs) == 1
    assert runs[0].startswith("fcfs-")
    assert not list(here.rglob(".flowsim-*"))
    second = invoke(command("broken"))
    assert second.exit_code == 0, second.output
    assert calls == 5  # four runs, and the one that was interrupted


def test_ctrl_c_ends_a_real_run_at_once(here: Path) -> None:
    arguments = command("killed", "--rate-scale", "0.1", "--window", "25")
    process = subprocess.Popen(
        [sys.executable, "-m", "flowsim.cli.main", *arguments], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    while "run 1 of 2" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert said.strip() == "flowsim: interrupted"
    assert not Path("killed", "runs").exists()
    assert not list(here.rglob(".flowsim-*"))


ENDLESS = """
import sys
from flowsim.calibration.serve import warm_up as serving
from flowsim.cli.main import main

forward = serving._forward
serving._forward = lambda *given: (pause for _ in range(10**6) for pause in forward(*given))
sys.argv[0] = "flowsim"
main()
"""
"""A command whose warm-up never ends by itself."""


@pytest.mark.parametrize(
    ("kind", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_signal_ends_the_warm_up_at_once_and_leaves_nothing(here: Path, kind: signal.Signals, status: int) -> None:
    out = f"warm-{kind.name}"
    arguments = [sys.executable, "-c", ENDLESS, *command(out, "--repeats", "1")]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "warming up" not in process.stderr.readline():
        assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    second = invoke(command(out, "--repeats", "1"))
    assert second.exit_code == 2
    assert second.stderr.startswith(f"flowsim: error: {out}: is in use by another command")
    process.send_signal(kind)
    said = process.communicate(timeout=10)[1]
    assert process.returncode == status
    words = {signal.SIGINT: "flowsim: interrupted", signal.SIGTERM: "flowsim: terminated"}
    assert said.strip() == words.get(kind, "")
    assert not list(Path(out).glob("*"))
    assert Path(out).exists() == (kind is signal.SIGKILL)
    assert not list(here.rglob(".flowsim-*"))
    with locked(out):
        pass


def test_a_warm_up_that_runs_out_of_memory_is_one_line(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(serving, "_forward", full)
    result = invoke(command("cold"))
    assert result.exit_code == 2
    assert "the device ran out of memory; use a smaller model" in result.stderr.splitlines()[-1]
    assert not Path("cold", "runs").exists()
    assert "runner" not in {thread.name for thread in threading.enumerate()}


def test_a_gpu_that_runs_out_of_memory_is_one_line(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(executor, "execute", full)
    result = invoke(command("full"))
    assert result.exit_code == 2
    assert "the device ran out of memory; use a smaller model" in result.stderr
    assert not Path("full", "runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_machine_without_a_gpu_says_so_in_one_line(tmp_path: Path) -> None:
    result = invoke(["validate", "example", "--quick", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    expected = "flowsim: error: device: no CUDA GPU was found; expected a machine with one, or the device 'cpu'\n"
    assert result.stderr == expected
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--repeats", "0"), "repeats must be from 1 to 100, got 0"),
        (("--load", "0.5"), "--load: given together with --rate-scale"),
        (("--policy", "fifo"), "unknown policy 'fifo'"),
        (("--gpu", "h100x"), "unknown gpu 'h100x'"),
        (("--seed", "1", "--gpu", "h200"), "--gpu: given together with --cost; expected one of them"),
        (("--predictor", "nope"), "unknown predictor 'nope'"),
        (("--rate-scale", "1e9"), "--rate-scale must be from 0.001 to 1000, got 1000000000.0"),
        (("--out", "table"), "table: is an operator table; expected a new folder"),
        (("--format", "nothing"), "nothing"),
        (("--window", "0"), "--window must be > 0 and finite"),
        (("--window", "inf"), "--window must be > 0 and finite"),
        (("--window", "nan"), "--window must be > 0 and finite"),
        (("--slo", "-1"), "-1"),
    ],
)
def test_wrong_input_is_one_line(here: Path, more: tuple[str, ...], said: str) -> None:
    arguments = [a for a in command("wrong", *more) if more[0] != "--gpu" or a not in ("--cost", "table")]
    result = invoke(arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.splitlines()[-1].startswith("flowsim: error")


@pytest.mark.parametrize(
    ("arrival_s", "options", "said"),
    [
        ([0.0], ("--rate-scale", "1"), "few.jsonl: has 1 request; expected >= 2, over some time, in the window"),
        ([0.0] * 6, ("--rate-scale", "1"), "few.jsonl: has 6 requests at once; expected >= 2"),
        ([0.0, 5.0], ("--rate-scale", "1", "--window", "1"), "few.jsonl: has 1 request; expected >= 2"),
        ([0.0, 1.0], ("--rate-scale", "-1"), "--rate-scale must be from 0.001 to 1000, got -1.0"),
        ([0.0], ("--load", "0.5"), "few.jsonl: has 1 request; expected >= 30, over some time, to search"),
        ([0.0] * 40, ("--load", "0.5"), "few.jsonl: has 40 requests at once; expected >= 30"),
        ([0.0, 1.0, 2.0], ("--start", "0.5"), "few.jsonl from 0.5 s on: has 2 requests; expected >= 30"),
    ],
)
def test_a_trace_without_a_rate_is_refused_before_anything_is_measured(
    here: Path, monkeypatch: pytest.MonkeyPatch, arrival_s: list[float], options: tuple[str, ...], said: str
) -> None:
    flowsim.traces.write_trace(flowsim.Trace.of(arrival_s, [5000] * len(arrival_s)), "few.jsonl")
    monkeypatch.setattr("flowsim.validation.validate.calibrate", lambda *given, **more: pytest.fail("measured"))
    fixed = ("--model", "tiny.yaml", "--device", "cpu", "--slo", "1", "--out", "norate")
    result = invoke(["validate", "few.jsonl", *fixed, *options])
    assert result.exit_code == 2
    assert said in result.stderr
    assert not Path("norate").exists()


def test_a_case_without_a_run_is_said(evidence: tuple[Evidence, Result], here: Path) -> None:
    shutil.copytree("evidence", "runless")
    path = Path("runless", "runs", f"{evidence[0].recorded[0].case.slug}.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"runs": []}))
    result = invoke(["validate", "runless"])
    assert result.exit_code == 0
    assert f"runless: runs/{path.name} holds no run, so this case is left out" in result.stderr
    assert "measures of 1 case pass" in result.stdout


def test_a_wrong_plan_is_named_as_it_was_given(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for arguments, said in (
        (["trace.jsonl", "--window", "5", "--repeats", "0"], "repeats must be from 1 to 100, got 0"),
        (["trace.jsonl", "--quick", "--seed", "-1"], "seed must be >= 0 and < 2^63, got -1"),
        (["absent.jsonl", "--quick"], "absent.jsonl"),  # and not the GPU, which is absent too
    ):
        result = invoke(["validate", *arguments])
        assert result.exit_code == 2
        assert said in result.stderr


def test_a_table_of_another_shape_of_that_name_is_refused(here: Path) -> None:
    spec = yaml.safe_load(Path("tiny.yaml").read_text()) | {"layers": 3}
    Path("three.yaml").write_text(yaml.safe_dump(spec))
    result = invoke(command("three", "--model", "three.yaml", "--rate-scale", "1"))
    assert result.exit_code == 2
    assert "model must be that of the operator table, tiny" in result.stderr


def test_what_the_table_does_not_allow_leaves_no_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, large = OperatorTable.load("table"), load_table("h200", "qwen2.5-14b")
    replace(own, operators=tuple(row for row in own.operators if row.operator != "graph")).save("plain")
    replace(large, operators=tuple(replace(row, backend="torch") for row in large.operators)).save("large")
    monkeypatch.setattr(
        "flowsim.validation.validate.serving_decoder", lambda *given, **more: pytest.fail("built the model")
    )
    for options, said in (
        (("--graph-tokens", "512", "--cost", "plain"), "was measured without recorded forwards; expected 0"),
        (("--graph-tokens", "512"), "graph_tokens must be <= 128 (the most measured"),
        (("--cost", "large"), "model must be that of the operator table, qwen2.5-14b"),
    ):
        result = invoke(command("early", *options))
        assert result.exit_code == 2
        assert said in result.stderr
        assert "finding the rates" not in result.stderr
        assert not Path("early").exists()


def test_an_interrupted_search_of_rates_leaves_no_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flowsim.validation.validate.cases_of", interrupted)
    assert invoke(command("norates")).exit_code == 130
    assert not Path("norates").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model", "other.yaml"], "model must be that of the operator table, tiny"),
        (["--seed", "3"], "holds evidence with other options (seed); expected a new folder"),
        (["--max-batched-tokens", "64"], "holds evidence with other options (server); expected a new folder"),
    ],
)
def test_a_folder_holds_one_validation(
    evidence: tuple[Evidence, Result], here: Path, more: list[str], message: str
) -> None:
    (here / "other.yaml").write_text((here / "tiny.yaml").read_text().replace("name: tiny", "name: other"))
    before = (here / "evidence" / "evidence.json").read_bytes()
    result = invoke(command("evidence", *more))
    assert result.exit_code == 2
    assert message in result.output
    assert (here / "evidence" / "evidence.json").read_bytes() == before


def test_a_table_of_kernels_that_no_server_runs_is_refused(here: Path) -> None:
    result = invoke(["validate", "trace.jsonl", "--gpu", "h200", "--device", "cpu", "--out", "refused"])
    assert result.exit_code == 2
    assert "h200/llama3-8b: has attention measured with split" in result.output
    assert not (here / "refused").exists()


def test_a_window_in_which_hardly_a_request_arrives_is_refused(here: Path) -> None:
    """With a prompt of ten million tokens any rate is low: two requests would take hours."""
    trace = flowsim.Trace.of([0.01 * i for i in range(40)], [10_000_000 if i == 6 else 20 for i in range(40)])
    flowsim.traces.write_trace(trace, "rare.jsonl")
    arguments = [a for a in command("rare", "--policy", "fcfs", "--load", "0.5") if a not in ("--rate-scale", "4")]
    result = invoke(["validate", "rare.jsonl", *arguments[2:]])
    assert result.exit_code == 2, result.output
    assert re.search(
        r"window: is 0\.6 s, but at \S+ req/s, the rate at this load, 2 requests take \S+ s; ", result.stderr
    )
    assert not Path("rare").exists()
