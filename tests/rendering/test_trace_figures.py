"""Figures of a trace, drawn in text."""

import pytest
from click.testing import CliRunner

import flowsim
from flowsim.cli.main import main
from flowsim.traces import write_trace


@pytest.mark.parametrize(
    "trace",
    [
        flowsim.Trace.of([0], [5]),
        flowsim.Trace.of([0, 1, 2], [5, 6, 7], [1, 0, 3], ["$\\x$", "_hidden", "a" * 99], name="$\\x$"),
    ],
)
def test_any_trace_can_be_drawn(trace, tmp_path):
    from flowsim.rendering.figure_file import save_figure
    from flowsim.rendering.trace_figures import trace_figure

    save_figure(trace_figure(trace), tmp_path / "t.png")
    assert (tmp_path / "t.png").stat().st_size > 10_000


def test_a_terminal_without_bars_gets_replacement_characters(tmp_path, monkeypatch):
    """Case W_uniform_1rps with PYTHONIOENCODING=cp1252."""
    monkeypatch.chdir(tmp_path)
    write_trace(flowsim.Trace.of(range(50), [5] * 50), "u.jsonl")
    done = CliRunner(charset="cp1252").invoke(main, ["traces", "info", "u.jsonl"])
    assert done.exit_code == 0 and "?????" in done.output
