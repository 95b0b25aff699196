"""Imported tables beside measured ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.calibration.published.aiconfigurator import Source
from flowsim.calibration.published.compare import compare_tables
from flowsim.calibration.published.importer import import_table
from support.calibration import MODEL


def test_tables_compared(source: Source) -> None:
    own = load_table("h200", "llama3-8b")
    slower = replace(own, operators=tuple(replace(row, device_us=2 * row.device_us) for row in own.operators))
    ratios = compare_tables(slower, own)
    assert {of.operator for of in ratios} == {*MODEL.operators, "attention on context", "graph", "graph_rested"}
    assert all(m is None or m == pytest.approx(2.0) for of in ratios for m in of.medians())
    imported = compare_tables(own, import_table(source, MODEL, own))
    assert {of.operator for of in imported} == {"qkv_proj", "o_proj", "gate_up_proj", "down_proj", "head", "attention"}
