"""The log of a calibration: each size once, and a note where memory runs out."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowsim.calibration.measure.measurement_log import MeasurementLog, Rows

torch = pytest.importorskip("torch")

FULL = RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to")


def test_a_size_is_measured_once_even_after_a_restart(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    measured: list[int] = []

    def measure(tokens: int) -> Rows:
        measured.append(tokens)
        return [{"gain": [tokens, 2.0]}]

    for _ in range(2):
        log = MeasurementLog(tmp_path / "journal.jsonl", {"seed": 0}, lambda *call: told.append(call))
        with log:
            log.total = 2
            assert log.do("gain 8", measure, 8) == log.do("gain 8", measure, 8) == [{"gain": [8, 2.0]}]
            assert log.mapping("gain") == {8: 2.0}
    assert measured == [8]
    assert told == [(1, 2, "gain 8"), (2, 2, "gain 8")] * 2


@pytest.mark.parametrize("full", [torch.OutOfMemoryError("no"), FULL, MemoryError()])
def test_a_size_beyond_the_memory_is_a_note(full: Exception) -> None:
    def measure() -> Rows:
        raise full

    log = MeasurementLog(None, {}, lambda done, total, what: None)
    assert log.do("layer 64@0", measure) == [{"note": "skipped: out of memory"}]
    assert log.notes() == ["layer 64@0: skipped: out of memory"]


def test_any_other_error_is_raised_and_nothing_is_logged() -> None:
    def measure() -> Rows:
        raise RuntimeError("a bug")

    log = MeasurementLog(None, {}, lambda done, total, what: None)
    with pytest.raises(RuntimeError, match="a bug"):
        log.do("layer 64@0", measure)
    assert log.rows == {}
