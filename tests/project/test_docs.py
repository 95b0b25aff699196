"""Every command, block of code, option and file that the README and docs show runs, exists, or is what comes out."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

import flowsim
from benchmarks.stack_coverage import served
from docs.written.outputs import SHOWN, TIMED, as_shown, words
from docs.written.pages import PAGES, with_tables
from flowsim.calibration.costs.gpus import load_gpu
from flowsim.calibration.costs.models import load_model
from flowsim.calibration.measure.calibrate import calibrate
from flowsim.cli.main import main
from flowsim.runs.serving_stack import read_stack
from flowsim.studies.study import SECTIONS
from support.calibration import LLAMA
from support.costs import GRID
from support.logs import bench_json
from support.places import ROOT

TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in PAGES}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = [(name, language, block) for name, text in TEXTS.items() for language, block in BLOCK.findall(text)]
OUTPUTS = [(name, found[1], found[2]) for name, text in TEXTS.items() for found in SHOWN.finditer(text)]
SHORT = ["--device", "cpu", "--quick", "--model", "tiny.yaml"]
SHORT_RUN = ["--cost", "tiny-table", "--slo", "1", "--duration", "0.05", "--repeats", "1"]
NOT_RUN = {
    "arena": "takes minutes; tests/arena has the like",
    "AzureLLMInferenceTrace_conv.csv.gz": "needs the trace; tests/cli has the like",
    "conversation.csv.gz": "needs the trace; tests/cli has the like",
    "conversation_trace.jsonl.gz": "needs the trace; tests/cli has the like",
    "servegen_deepseek-r1_peak_window.json.gz": "needs the specification; tests/traces has the like",
    "all-reduce": "needs several GPUs or the extra 'import'; tests/calibration has the like",
    "tcp:": "needs a cluster; tests/studies has the like",
    "ablation.yaml": "needs traces that are not shipped",
    "cuts.yaml": "takes minutes; tests/studies checks all of its points",
    "first_2_minutes.jsonl": "is not shipped",
    "odd-0.08.csv": "is not shipped",
    "odd-0.04.csv": "is not shipped",
    "llama3-70b": "needs the table of the command before it; tests/calibration has the like",
    "aiconfigurator": None if importlib.util.find_spec("aiconfigurator_core") else "needs the extra 'import'",
    "a100_sxm": "needs the table of the command before it; tests/calibration has the like",
}
"""Word of a command -> why it is only parsed."""
SMALLER = {"qwen:2000": "qwen:40", "step: 0.2": "step: 1.6", "to: 9": "to: 1"}
"""What makes 20 short runs of the 450 of the study that the docs show."""


def command_blocks() -> list[list[str]]:
    """The commands of each block, in their order; one that several pages show is run with the last of them."""
    blocks = [
        [line.partition(" #")[0].strip() for line in block.splitlines() if re.match(r"flowsim \w", line)]
        for _, language, block in BLOCKS
        if not language
    ]
    shown = {f"flowsim {command}" for _, command, _ in OUTPUTS}
    for i, block in enumerate(blocks):
        later = {command for others in blocks[i + 1 :] for command in others}
        block[:] = [command for command in dict.fromkeys(block) if command not in later | shown]
    return [block for block in blocks if block]


COMMANDS = command_blocks()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a reader has it: traces, a study, evidence, and the policy that the README shows."""
    folder = tmp_path_factory.mktemp("reader")
    trace = flowsim.example_trace().head(60)
    flowsim.traces.write_trace(trace, folder / "trace.jsonl")
    flowsim.traces.write_trace(trace, folder / "trace.csv.gz", layout="jsonl")
    flowsim.traces.write_trace(trace, folder / "my.csv")
    short = flowsim.Trace.of(trace.arrival_s, trace.input_length % 90 + 1)
    flowsim.traces.write_trace(short, folder / "short.jsonl")
    flowsim.run(folder / "trace.jsonl", "fcfs").save(folder / "results")
    (folder / "bench.json").write_text(bench_json(served(0, n=60, gap_s=2.0, frontend_s=0.02)))
    (folder / "log.csv").write_text(
        "arrival_s,input_length,output_length,ttft_s,latency_s\n0,900,5,0.1,0.3\n1,99,5,0.1,0.3\n"
    )
    (folder / "my_policy.py").write_text(block_with("class MostOverdue").replace("MostOverdue", "MyPolicy"))
    (folder / "my_policies.py").write_text(block_with("class MostOverdue"))
    tiny = block_with("name: tiny").replace("max_context: 2048", "max_context: 600")
    (folder / "tiny.yaml").write_text(tiny)
    (folder / "my_study.yaml").write_text(block_with("trace: my.csv"))
    (folder / "my-model").mkdir()
    for place in (folder, folder / "my-model"):
        (place / "config.json").write_text(json.dumps(LLAMA))
    shutil.copytree(ROOT / "tests" / "data" / "evidence", folder / "tests" / "data" / "evidence")
    (folder / "tests" / "data" / "passes").symlink_to(ROOT / "tests" / "data" / "passes")
    (folder / "studies").mkdir()
    study = (ROOT / "studies" / "slo_scale.yaml").read_text(encoding="utf-8")
    for large, small in SMALLER.items():
        assert large in study
        study = study.replace(large, small)
    (folder / "studies" / "slo_scale.yaml").write_text(study)
    return folder


@pytest.fixture(autouse=True)
def folder(reader: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The reader's folder is the current one; what is calibrated there is small, and no figure of a case is drawn."""
    monkeypatch.setenv("FLOWSIM_TABLES", str(reader / "tables"))
    monkeypatch.setattr("flowsim.calibration.measure.calibrate.QUICK", GRID)
    monkeypatch.setattr("flowsim.validation.report.picture", lambda of: b"png")  # tests/validation draws it
    with contextlib.chdir(reader):
        yield reader


def block_with(text: str) -> str:
    """The first block of code with this text."""
    return next(block for _, _, block in BLOCKS if text in block)


def tiny_table() -> str:
    """The tiny model's operator table, measured in a moment."""
    if not Path("tiny-table").exists():
        calibrate(load_model("tiny.yaml"), device="cpu", grid=GRID).save("tiny-table")
    return "tiny-table"


def in_place(arguments: list[str], more: list[str]) -> list[str]:
    """The arguments with these options, in place of those of the same names."""
    given = [at for at, word in enumerate(arguments) if word in more and word.startswith("--") and word != "--quick"]
    return [word for at, word in enumerate(arguments) if at not in given and at - 1 not in given] + more


def made_small(arguments: list[str]) -> list[str]:
    """The same command without a GPU, on a small model, a short trace or one core."""
    match arguments:
        case ["calibrate", option, *_] if option.startswith("-"):
            return in_place(arguments, SHORT)
        case ["calibrate", "verify", _, *_]:
            return ["calibrate", "verify", tiny_table(), *SHORT[:3]]
        case ["validate", _, *options] if "--quick" in options:
            tiny_table()
            return ["validate", "short.jsonl", *in_place(options, [*SHORT, *SHORT_RUN])]
        case ["capacity", _, *options]:
            return ["capacity", "synthetic:qwen:60", *in_place(options, ["--replications", "2", "--workers", "1"])]
        case ["explain", "synthetic:qwen:4000", *options]:
            return ["explain", "synthetic:qwen:400", *options]
        case ["sweep", *_]:
            return [*arguments, "--workers", "1"]
        case ["policies", "new", name]:
            Path(f"{name}.py").unlink(missing_ok=True)  # the reader's, which commands need that may run before this
    return arguments


def output(arguments: list[str]) -> str:
    """What a command prints on 120 columns."""
    done = CliRunner().invoke(main, arguments, prog_name="flowsim", env={"COLUMNS": "120"}, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return as_shown(done.stdout)


def parsed(arguments: list[str]) -> None:
    """Check a command's name, options and arguments without running it."""
    command: click.Command = main
    while isinstance(command, click.Group) and arguments[0] in command.commands:
        command, arguments = command.commands[arguments[0]], arguments[1:]
    command.make_context("flowsim", arguments)


def test_there_are_commands_to_run() -> None:
    assert sum(map(len, COMMANDS)) >= 25


@pytest.mark.parametrize("commands", COMMANDS, ids=lambda commands: commands[0])
def test_commands_run(commands: list[str]) -> None:
    for command in commands:
        arguments = words(command.removeprefix("flowsim "), Path())
        if any(NOT_RUN.get(word) for text in arguments for word in text.split("/")):
            parsed(arguments)
        else:
            output(made_small(arguments))


@pytest.mark.parametrize(("page", "command", "shown"), OUTPUTS, ids=[f"{name}: {c}" for name, c, _ in OUTPUTS])
def test_output_shown_is_what_comes_out(page: str, command: str, shown: str) -> None:
    """`python -m docs.written` writes it anew."""
    assert TIMED.sub("", output(words(command, Path()))) == TIMED.sub("", shown)


@pytest.mark.parametrize("page", [name for name, text in TEXTS.items() if "<!-- table: " in text])
def test_tables_are_up_to_date(page: str) -> None:
    """`python -m docs.written` writes them anew."""
    assert with_tables(TEXTS[page]) == TEXTS[page]


@pytest.mark.parametrize("name", ["README.md", "docs/python.md", "docs/policies.md"])
def test_python_code_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = f"shown_in_{Path(name).stem}"
    blocks = [block for page, language, block in BLOCKS if page == name and language == "python"]
    Path(f"{module}.py").write_text("\n".join(blocks), encoding="utf-8")
    monkeypatch.syspath_prepend(Path())
    shown = importlib.import_module(module)
    assert shown.result.attainment() > 0.9


def test_each_policy_of_the_docs_has_fewer_than_25_lines() -> None:
    blocks = [block for page, _, block in BLOCKS if page == "docs/policies.md" and "def choose" in block]
    assert [len(block.splitlines()) < 25 for block in blocks] == [True] * 5


def test_yaml_is_valid() -> None:
    readers = {
        "ttft_s:": flowsim.SLOMix.parse,
        "axes:": flowsim.Study.read,
        "bandwidth_tb_s:": load_gpu,
        "layers:": load_model,
        "server:": read_stack,
    }
    kinds = dict.fromkeys(readers, 0)
    for i, block in enumerate(block for _, language, block in BLOCKS if language == "yaml"):
        (kind,) = (kind for kind in kinds if kind in block)
        kinds[kind] += 1
        path = Path(f"block-{i}.yaml")
        path.write_text(block)
        readers[kind](str(path))
    assert all(kinds.values())


def test_every_section_of_a_study_is_listed() -> None:
    table = TEXTS["docs/studies.md"].partition("| section |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(SECTIONS)


def commands_of(command: click.Command) -> Iterator[click.Command]:
    yield command
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        yield from commands_of(inner)


def test_options_named_exist() -> None:
    options = {
        name
        for command in commands_of(main)
        for option in command.params
        for name in (*option.opts, *option.secondary_opts)
    }
    for name, text in TEXTS.items():
        named = re.findall(r"(?<=[`( ])--[a-z][a-z-]+", SHOWN.sub("", text))
        assert set(named) <= options | {"--help", "--nworkers"}, name  # the last is an option of dask


def test_functions_and_their_commands_exist_and_each_command_has_one() -> None:
    rows = re.findall(r"^\| (.*flowsim\..*?) \| `flowsim (\w+)", TEXTS["docs/python.md"], re.MULTILINE)
    for functions, _ in rows:
        for name in re.findall(r"`flowsim\.(\w+)`", functions):
            assert hasattr(flowsim, name), name
    assert {command for _, command in rows} == main.commands.keys()


def test_files_named_exist() -> None:
    for page, text in TEXTS.items():
        for name, heading in re.findall(r"\]\((?!http)([\w/.]*)(?:#([\w-]+))?\)", text):
            path = (ROOT / page).parent / name if name else ROOT / page
            assert path.exists(), f"{page}: {name}"
            assert not heading or heading in anchors(path), f"{page}: {name}#{heading}"
        for name in re.findall(r"`((?:sim|calibration|policies|traces|studies|tests|docs)/[\w/.]*)`", text):
            assert (ROOT / name).exists(), f"{page}: {name}"


def anchors(path: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_index_lists_every_page() -> None:
    listed = set(re.findall(r"\]\(([\w/.]+)", TEXTS["docs/README.md"]))
    assert {path.name for path in PAGES} - {"README.md"} <= listed


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])


def test_the_architecture_lists_the_layers_in_their_order() -> None:
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    paths = [layer.replace(".", "/") for layer in layers]
    listed = re.findall(r"^\| `([\w/.]+)` \|", TEXTS["docs/architecture.md"], re.MULTILINE)[: len(paths)]
    assert [name.removesuffix(".py").rstrip("/").removeprefix("sim/") for name in listed] == paths[::-1]


def test_policies_and_their_options_are_documented() -> None:
    policies = flowsim.describe_policies()
    listed = re.findall(r"^  ([\w-]+)  ", output(["policies"]), re.MULTILINE)
    table, _, rest = TEXTS["docs/policies.md"].partition("<!-- end -->")
    assert [policy.name for policy in policies] == listed == re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)
    documented = set(re.findall(r"`(\w+)", rest.partition("## A policy of your own")[0] + table))
    for policy in policies:
        assert policy.options.keys() <= documented, policy.name
    assert re.search(r"^\| `vtc` .* \| `batch_tokens=8192`, `batch_requests=256` \|", table, re.MULTILINE)


def test_the_readme_is_short() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 130


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_no_page_holds_the_marks_of_a_merge(name: str) -> None:
    assert not re.search(r"^(<{7} |>{7} |={7}$)", TEXTS[name], re.MULTILINE)
