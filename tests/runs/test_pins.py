"""What a config pins: an equal run is silent, and what differs is said in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

import flowsim
from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.errors import ChangedInputs, InputError
from flowsim.runs.options_file import read_options
from flowsim.runs.pins import changed_inputs
from support.cli import OWN, done, invoke

POLICY = "own_policies:Fine"


@pytest.fixture
def config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config of a run with a trace, a table and a policy of the user's own."""
    as_a_user_has_it(folder, monkeypatch)
    return made(folder)


def as_a_user_has_it(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """The current folder is this one, of whose modules none has been imported."""
    patch.chdir(folder)
    patch.setattr(sys, "path", [*sys.path])
    patch.delitem(sys.modules, "own_policies", raising=False)


def made(folder: Path) -> Path:
    (folder / "own_policies.py").write_text(OWN)
    load_table("h200", "llama3-8b").save("table")
    done("run", "trace.jsonl", "--policy", POLICY, "--cost", "table", "--out", "first", "-q")
    return folder / "first" / "config.yaml"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for several tests, which leave it as it is."""
    folder = tmp_path_factory.mktemp("kept")
    flowsim.traces.write_trace(flowsim.example_trace().head(40), folder / "trace.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        as_a_user_has_it(folder, patch)
        return made(folder)


def rewrite(config: Path, **pinned: str | None) -> None:
    values = yaml.safe_load(config.read_text())
    values["pinned"] = {name: value for name, value in {**values["pinned"], **pinned}.items() if value is not None}
    config.write_text(yaml.safe_dump(values))


def fresh() -> None:
    """As in another process: the module is imported again."""
    sys.modules.pop("own_policies", None)


def test_all_that_a_run_is_made_of_is_pinned(config: Path) -> None:
    pinned = read_options(config).pinned
    assert list(pinned) == ["trace", "cost", "policy", "flowsim", "source", "numpy", "python"]
    assert pinned["cost"] == load_table("h200", "llama3-8b").digest()
    assert pinned["flowsim"] == flowsim.__version__
    shipped = flowsim.run("example", limit=5).config["pinned"]
    assert list(shipped) == ["trace", "cost", "flowsim", "source", "numpy", "python"]


def test_an_equal_run_is_silent_and_has_the_same_bytes(config: Path) -> None:
    done("run", str(config), "--out", "second", "-q")
    for path in config.parent.iterdir():
        assert path.read_bytes() == Path("second", path.name).read_bytes()


def test_a_changed_trace_table_or_policy_is_named_in_one_line(config: Path) -> None:
    flowsim.traces.write_trace(flowsim.example_trace().head(39), "trace.jsonl")
    load_table("h200", "qwen2.5-14b").save("table")
    Path("own_policies.py").write_text(OWN + "\n")
    fresh()
    pinned = read_options(config).pinned
    result = invoke("run", str(config), "--out", "second", "-q")
    found = read_options("second/config.yaml").pinned
    said = ", ".join(f"{n} (found {found[n][:12]}, pinned {pinned[n][:12]})" for n in ("trace", "cost", "policy"))
    assert (result.exit_code, result.stderr) == (0, f"flowsim: warning: not as pinned in the config: {said}\n")
    refused = invoke("run", str(config), "--out", "third", "-q", "--strict")
    assert (refused.exit_code, refused.stderr) == (2, f"flowsim: error: not as pinned in the config: {said}\n")
    assert not Path("third").exists()


@pytest.mark.parametrize("name", ["flowsim", "source", "numpy", "python"])
def test_another_version_is_said_in_python_too(config: Path, name: str) -> None:
    rewrite(config, **{name: "0.0"})
    with pytest.warns(ChangedInputs, match=rf"^not as pinned in the config: {name} \(found \S+, pinned 0.0\)$"):
        flowsim.run(read_options(config))


@pytest.mark.parametrize("lost", range(0, 1000, 37))
def test_a_config_whose_end_is_missing_never_runs_without_a_word(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    as_a_user_has_it(kept.parents[1], monkeypatch)
    text, config = kept.read_text().rstrip("\n"), tmp_path / "config.yaml"
    config.write_text(text[: len(text) - 1 - lost])
    result = invoke("run", str(config), "-q")
    assert result.exit_code in (0, 2)
    *warned, last = result.stderr.splitlines()
    assert len(warned) <= result.exit_code == 2 or not warned
    assert all(line.startswith("flowsim: warning: ") for line in warned)
    assert last.startswith("flowsim: warning: " if result.exit_code == 0 else "flowsim: error: ")
    strict = invoke("run", str(config), "-q", "--strict")
    assert strict.exit_code == 2 and strict.stderr.startswith("flowsim: error: ")


def test_a_config_that_pins_nothing_or_not_all_is_told_apart(config: Path) -> None:
    head, pins = config.read_text().split("pinned:\n")
    config.write_text(head)
    said = f"{config}: pins no trace, table or version; if flowsim wrote it, its end is missing\n"
    result = invoke("run", str(config), "-q")
    assert (result.exit_code, result.stderr) == (0, f"flowsim: warning: {said}")
    config.write_text(f"{head}pinned:\n" + "".join(pins.splitlines(keepends=True)[:-2]))
    result = invoke("explain", str(config))
    said = f"{config}: pinned: lacks numpy, python; expected the file as flowsim wrote it\n"
    assert (result.exit_code, result.stderr) == (2, f"flowsim: error: {said}")


def test_a_study_compares_what_its_run_section_pins_and_no_axis_varies(config: Path) -> None:
    rewrite(config, numpy="0.0", policy="0", trace="0", cost="0")
    run = yaml.safe_load(config.read_text())
    Path("study.yaml").write_text(yaml.safe_dump({"run": run, "axes": {"policy": ["fcfs", "edf"], "seed": [1, 2]}}))
    result = invoke("sweep", "study.yaml", "--out", "swept", "--workers", "1", "-q")
    assert (result.exit_code, result.stderr.count("\n")) == (0, 1)
    assert result.stderr.startswith("flowsim: warning: not as pinned in the config: cost (found ")
    assert "numpy (found " in result.stderr and "trace" not in result.stderr and "policy" not in result.stderr
    assert invoke("sweep", "study.yaml", "--out", "none", "--workers", "1", "-q", "--strict").exit_code == 2
    table = flowsim.load_runs("swept").table
    assert len(table) == 4 and not [column for column in table if column.startswith("pinned")]


def test_pins_do_not_decide_whether_a_run_has_been_done(config: Path) -> None:
    run = yaml.safe_load(config.read_text())
    first = flowsim.sweep({"run": run}, "swept", workers=1)
    again = flowsim.sweep({"run": {name: value for name, value in run.items() if name != "pinned"}}, workers=1)
    assert first.table["key"].tolist() == again.table["key"].tolist()


def test_a_file_that_changes_after_its_import_stops_a_run_of_its_policy(config: Path) -> None:
    fresh()
    flowsim.run("trace.jsonl", POLICY)
    Path("own_policies.py").write_text(OWN + "\n")
    line = r"^policy 'own_policies:Fine': own_policies has changed since it was imported; expected a new process, or"
    with pytest.raises(InputError, match=line):
        flowsim.run("trace.jsonl", POLICY)
    with pytest.raises(InputError, match=line):
        flowsim.sweep({"run": {"trace": "trace.jsonl", "policy": POLICY}}, workers=1)
    fresh()
    flowsim.run("trace.jsonl", POLICY)


def test_a_pin_of_what_is_not_there_differs() -> None:
    assert changed_inputs({"policy": "a" * 64}, {}) == "policy (found none, pinned aaaaaaaaaaaa)"
    assert changed_inputs({}, {"policy": "a"}) == ""


def test_pins_are_texts_by_name(folder: Path) -> None:
    Path("c.yaml").write_text("trace: example\npinned: {numpy: 2.1}\n")
    with pytest.raises(InputError, match=r"^c.yaml: line 2: pinned.numpy must be non-empty text, got 2.1$"):
        read_options("c.yaml")
