"""The notebooks run, and what they show is what is committed."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from support.places import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")
def test_a_notebook_runs_and_shows_what_is_committed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MPLBACKEND", raising=False)  # a command that ran in this process may have set it
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # other tests have the other cores; tests/studies asks for workers
    committed = nbformat.read(path, as_version=4)
    shown = [texts(cell) for cell in committed.cells]
    assert any(pictures(cell) for cell in committed.cells)
    place = {"metadata": {"path": str(path.parent)}}  # as Jupyter runs it
    fresh = nbformat.read(path, as_version=4)
    run = NotebookClient(fresh, timeout=600, kernel_name="python3", resources=place).execute()
    assert [texts(cell) for cell in run.cells] == shown
    assert [pictures(cell) for cell in run.cells] == [pictures(cell) for cell in committed.cells]


def pictures(cell: nbformat.NotebookNode) -> int:
    """How many figures a cell shows."""
    return sum("image/png" in output.get("data", {}) for output in cell.get("outputs", []))


def texts(cell: nbformat.NotebookNode) -> list[str]:
    """What a cell shows, as text."""
    return [output.data["text/plain"] for output in cell.get("outputs", []) if output.output_type != "stream"]
