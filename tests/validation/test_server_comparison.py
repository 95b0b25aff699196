"""A server's log beside simulations: the tables, where the difference sits, and the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import flowsim
from benchmarks.stack_coverage import served
from flowsim.errors import InputError
from flowsim.runs.options import from_values
from flowsim.traces.trace import Trace
from flowsim.validation.server_comparison import compare_server
from support.logs import saved

RUN = from_values({"trace": "log", "slo": 0.2})


def test_a_simulation_with_the_servers_stack_does_not_differ() -> None:
    log = served(0, n=60, frontend_s=0.02)
    with_stack = from_values({"trace": "log", "slo": 0.2, "server.frontend_s": 0.02})
    found = compare_server(log, with_stack, ["fcfs"])
    assert np.abs(found.difference_s("fcfs")).max() < 1e-9
    assert found.attainment("server") == found.attainment("fcfs")


def test_where_a_constant_and_a_factor_sit() -> None:
    log = served(0, frontend_s=0.02, device_factor=1.1)
    found = compare_server(log, RUN, ["fcfs", "sjf"])
    places = dict(found.places("fcfs"))
    assert list(places) == ["constant", "by length", "in the queue", "in the tail"]
    assert float(places["constant"].split()[0]) == pytest.approx(20, abs=1)
    assert float(places["by length"].split("%")[0]) == pytest.approx(10, abs=1)
    assert found.attainment("server") < found.attainment("fcfs")


def test_the_charts_show_length_and_tail_of_those_alone_and_of_others() -> None:
    """A constant of 20 ms for all, and 30 ms more for the two that waited, one after the other."""
    log = Trace.of([0, 9, 18, 18], [100, 2000, 300, 300], ttft_s=[1, 1, 1, 1])
    bare = compare_server(log, RUN, ["fcfs"]).ttft_s["fcfs"]
    slower_s = np.array([0.02, 0.02, 0.05, 0.05])
    found = compare_server(Trace.of(log.arrival_s, log.input_length, ttft_s=bare + slower_s), RUN, ["fcfs"])
    by_length, spread = found.charts("fcfs")
    alone, others = by_length.series
    assert (alone.name, alone.x) == ("ran alone", [100.0, 2000.0])
    assert alone.y == pytest.approx([20.0, 20.0])
    assert (others.name, others.x) == ("met others", [300.0, 300.0])
    assert [of.y[-1] for of in spread.series] == pytest.approx([20.0, 50.0])


def test_the_tables() -> None:
    """The server served 1 of 3 in time, 2 at twice the SLO; the third request failed."""
    log = Trace.of([0, 5, 9], [100, 2000, 300], ttft_s=[0.1, 0.3, np.nan])
    compared = compare_server(log, RUN, ["fcfs"])
    tables = {table.title: table for table in compared.tables()}
    attainment = {
        row[0]: row[1]
        for row in tables["Attainment by SLO scale; 1 request that failed on the server missed every SLO"].rows
    }
    assert (attainment["0.5"], attainment["1"], attainment["2"]) == ("33.3 %", "33.3 %", "66.7 %")
    quantiles = {row[0]: row[1] for row in tables["TTFT"].rows}
    assert (quantiles["p50"], quantiles["p99"]) == ("0.3 s", "never")
    lengths = tables["Server - simulated, median, by prompt length"].rows
    assert [row[:2] for row in lengths] == [["1 to 1,024", "2"], ["1,025 to 4,096", "1"]]
    assert tables["Attainment by class"].header == ["class", "server", "fcfs"]
    assert "<th>Attainment by class</th><th>server</th><th>fcfs</th>" in compared._repr_html_()


def test_too_few_alone_say_so() -> None:
    log = Trace.of([0, 0], [100, 200], ttft_s=[0.1, 0.1])
    assert compare_server(log, RUN, ["fcfs"]).places("fcfs")[0][1].startswith("0 requests: too few")


def test_the_page(tmp_path: Path) -> None:
    page = compare_server(served(0, n=60), RUN, ["fcfs"]).save(tmp_path / "new").read_text(encoding="utf-8")
    assert "Where fcfs differs" in page
    assert "Attainment by SLO scale" in page


@pytest.mark.parametrize("several", [1, 3])
def test_the_log_of_a_closed_loop_is_simulated_as_one(several: int, tmp_path: Path) -> None:
    """With the server's stack nothing differs, though its log holds no arrivals."""
    random = np.random.default_rng(several)
    tokens = random.integers(100, 9000, 40)
    ran = flowsim.run(Trace.of([0] * 40, tokens), "fcfs", concurrency=several, slo=1, frontend_s=0.02, bound=False)
    listed = {"input_lens": tokens.tolist(), "ttfts": ran.ttft_s.tolist(), "itls": [[]] * 40, "output_lens": [1] * 40}
    log = flowsim.load_trace(saved(tmp_path, {"max_concurrency": several, "request_rate": "inf", **listed}))
    np.testing.assert_allclose(log.arrival_s, ran.trace.arrival_s, atol=0.01)
    with_stack = from_values({"trace": "log", "slo": 0.2, "server.frontend_s": 0.02})
    found = compare_server(log, with_stack, ["fcfs"])
    assert np.abs(found.difference_s("fcfs")).max() < 1e-9
    assert f"simulated as a closed loop too: {several} request" in found.notices[-1]
    assert found.notices[-1] in found.save(tmp_path / "page").read_text(encoding="utf-8")


def test_a_trace_without_ttfts_is_refused() -> None:
    with pytest.raises(InputError, match="has no measured TTFTs"):
        compare_server(Trace.of([0], [5]), RUN, ["fcfs"])
