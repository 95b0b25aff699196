"""`flowsim run` on operator tables that are damaged, and on those of other models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flowsim.calibration.costs.table_catalogue import load_table
from support.cli import invoke, refused

pytestmark = pytest.mark.usefixtures("folder")


def without(path: Path, start: str) -> None:
    path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith(start)))


def doubled(path: Path, start: str) -> None:
    text = path.read_text()
    path.write_text(text + next(line for line in text.splitlines(True) if line.startswith(start)))


def cut_short(path: Path, start: str) -> None:
    path.write_text(path.read_text()[:1000])


def emptied(path: Path, start: str) -> None:
    path.write_text("")


def longer(path: Path, start: str) -> None:
    first, second, third, *rest = path.read_text().splitlines(True)
    path.write_text("".join([first, second, third.replace("\n", ",x,y\n"), *rest]))


def zero_tokens(path: Path, start: str) -> None:
    first, second, *rest = path.read_text().splitlines(keepends=True)
    operator, _, *others = second.split(",")
    path.write_text("".join([first, ",".join([operator, "0", *others]), *rest]))


def elsewhere(path: Path, start: str) -> None:
    path.write_text(path.read_text().replace("gpu: h200\n", "gpu: ../h200\n"))


def no_multiprocessors(path: Path, start: str) -> None:
    path.write_text(path.read_text().replace("multiprocessors: 132", "multiprocessors: 0"))


def removed(path: Path, start: str) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "file", "start", "message"),
    [
        (removed, "provenance.yaml", "", "provenance.yaml: cannot be read: No such file"),
        (removed, "operators.csv", "", "operators.csv: cannot be read: No such file"),
        (removed, "passes.csv", "", "passes.csv: cannot be read: No such file"),
        (emptied, "provenance.yaml", "", "provenance.yaml must be the provenance of an operator table, got nothing"),
        (emptied, "operators.csv", "", "operators.csv: row 1: lacks the columns operator, tokens"),
        (cut_short, "operators.csv", "", "operators.csv: row "),
        (cut_short, "passes.csv", "", "passes.csv: row "),
        (without, "operators.csv", "check,", "table: operators: no row of check"),
        (without, "operators.csv", "attention,", "table: operators: no row of attention"),
        (doubled, "operators.csv", "check,", "table: operators: two rows of check at 0@0"),
        (doubled, "operators.csv", "attention,", "table: operators: two rows of attention at 1@0"),
        (longer, "operators.csv", "", "operators.csv: row 3: has 11 fields; expected 9, as in row 1"),
        (
            zero_tokens,
            "operators.csv",
            "",
            "operators.csv: row 2: tokens must be >= 1 for norm_attn, got 0",
        ),
        (elsewhere, "provenance.yaml", "", "table: provenance: gpu must be a name without slashes"),
        (
            no_multiprocessors,
            "provenance.yaml",
            "",
            "table/provenance.yaml: multiprocessors must be >= 1, got 0",
        ),
        (without, "provenance.yaml", "tp:", "table: provenance: lacks tp"),
        (without, "provenance.yaml", "memory_bytes:", "table: provenance: lacks memory_bytes"),
        (without, "provenance.yaml", "gpu:", "table: provenance: lacks gpu"),
        (without, "provenance.yaml", "  hidden:", "table/provenance.yaml: model_spec: lacks hidden"),
        (
            without,
            "provenance.yaml",
            "schema_version:",
            "provenance.yaml: schema_version must be 1 (measure the table again)",
        ),
    ],
)
def test_a_damaged_table_is_refused(damage: Callable[..., None], file: str, start: str, message: str) -> None:
    load_table("h200", "llama3-8b").save("table")
    damage(Path("table", file), start)
    assert message in refused("run", "t.jsonl", "--cost", "table", "--out", "results")


def test_a_damaged_table_of_a_catalogue_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSIM_TABLES", "tables")
    load_table("h200", "llama3-8b").save("tables/h200/llama3-8b/tp1")
    no_multiprocessors(Path("tables/h200/llama3-8b/tp1/provenance.yaml"), "")
    message = "tables/h200/llama3-8b/tp1/provenance.yaml: multiprocessors must be >= 1, got 0"
    assert refused("run", "t.jsonl", "--out", "results") == message
    assert refused("tradeoff") == message


def test_slos_are_those_of_the_model_that_the_costs_are_of() -> None:
    load_table("h200", "qwen3-8b").save("other")
    said = refused("run", "t.jsonl", "--cost", "other")
    assert said.startswith("--slo: no TTFT SLOs are known for the model 'qwen3-8b'")
    load_table("h200", "qwen2.5-14b").save("known")
    assert "text 0.4 s" in invoke("run", "t.jsonl", "--cost", "known").stdout
