"""The page of a table."""

from __future__ import annotations

import pytest

from flowsim.calibration.costs.provenance import PowerFit, Provenance
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.calibration.published.aiconfigurator import Source
from flowsim.calibration.published.importer import import_table
from flowsim.calibration.published.report import boost_line, calibration_page
from support.calibration import MODEL, undrawn


def test_the_page_shows_errors_curves_and_provenance(source: Source) -> None:
    table = load_table("h200", "llama3-8b")
    page = calibration_page(table, import_table(source, MODEL, table))
    for text in ("<h2>Passes measured and not fitted</h2>", "packed prompts", "chunk on context", "one size left out"):
        assert text in page
    assert "Compared with gemm.csv and context_attention.csv" in page
    assert page.count('<img alt="" src="data:image/png;base64,') == 4
    assert "<dt>gpu_name</dt><dd>NVIDIA H200</dd>" in page
    assert "<h2>An idle GPU</h2>" in page


def test_the_page_of_a_table_without_passes_escapes_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    undrawn(monkeypatch)
    rows = tuple(row for row in load_table("h200", "llama3-8b").operators if row.tokens < 64 and not row.context)
    about = {k: v for k, v in load_table("h200", "llama3-8b").provenance.stated.items() if k != "boost"}
    page = calibration_page(OperatorTable(Provenance.of({**about, "cpu": "<b>", "notes": ["a < b"]}), rows))
    assert "None were measured" in page
    assert "<h2>An idle GPU</h2>" not in page
    assert "<dt>cpu</dt><dd>&lt;b&gt;</dd>" in page
    assert "<li>a &lt; b</li>" in page


def test_a_boost_is_a_sentence() -> None:
    boost = PowerFit(window_s=0.04, threshold=0.7, gain=[(256, 0.012), (4096, 0.08)])
    assert boost_line(boost) == (
        "An idle GPU starts faster than all this, by: 256 tokens 1.2 %, 4,096 tokens 8.0 %; the gain fades once its "
        "utilisation, averaged over 40 ms, passes 0.70."
    )
