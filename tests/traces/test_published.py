"""Fetching a published trace, from a server on the loopback address that misbehaves as told."""

import gzip
import hashlib
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
from click.testing import CliRunner

from flowsim.cli.main import main
from flowsim.errors import InputError
from flowsim.traces import Trace, pull, read_trace, write_trace
from flowsim.traces.published import PUBLISHED
from support.traces import AZURE, MOONCAKE, needs_traces

CUT = 4096


class Server(ThreadingHTTPServer):
    """Serves one file; the first `cuts` answers end after CUT bytes."""

    content = b""
    cuts = 0
    ranges = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/trace.jsonl"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = self.headers.get("Range") if self.server.ranges else None
        self.server.asked.append(self.headers.get("Range"))
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        body = self.server.content[start:]
        if wanted and not body:
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.cuts:
            self.server.cuts -= 1
            body = body[:CUT]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    trace = Trace.of(np.arange(500.0), np.arange(1, 501))
    with Server() as server:
        write_trace(trace, tmp_path / "served.jsonl")
        server.content = (tmp_path / "served.jsonl").read_bytes()
        server.sha256 = hashlib.sha256(server.content).hexdigest()
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_trace_is_fetched_once(tmp_path, server):
    for _ in range(2):
        trace = pull("mine", tmp_path / "t.jsonl.zst", url=server.url, sha256=server.sha256)
        assert trace.input_length.tolist() == list(range(1, 501))
    assert server.asked == [None]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["served.jsonl", "t.jsonl.zst"]


def test_ticks_are_spread_once_and_for_all(tmp_path, server):
    rows = ((tick * 3000, 1 + request) for tick in range(20) for request in range(10))
    row = '{{"timestamp": {}, "input_length": {}, "output_length": 1, "hash_ids": [0]}}\n'
    raw = tmp_path / "served.jsonl"
    raw.write_text("".join(row.format(*values) for values in rows))
    server.content = raw.read_bytes()
    server.sha256 = hashlib.sha256(server.content).hexdigest()
    fetched, again = (pull("mine", tmp_path / "t.jsonl", url=server.url, sha256=server.sha256) for _ in range(2))
    for trace in (fetched, again, read_trace(tmp_path / "t.jsonl")):
        assert np.array_equal(trace.arrival_s, read_trace(raw).arrival_s)
    assert fetched.notices == ("ticks of 3 s: the requests of each were spread over it at random (seed 0)",)


def test_a_wrong_hash_leaves_nothing(tmp_path, server):
    with pytest.raises(
        InputError, match=r"mine: the SHA-256 of http.* is not 000000000000\.\.\.: the file has changed"
    ):
        pull("mine", tmp_path / "t.jsonl", url=server.url, sha256="0" * 64)
    assert [path.name for path in tmp_path.iterdir()] == ["served.jsonl"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_connection_is_resumed(tmp_path, server, ranges):
    server.cuts, server.ranges = 2, ranges
    trace = pull("mine", tmp_path / "t.jsonl", url=server.url, sha256=server.sha256)
    assert len(trace) == 500
    assert server.asked == [None, f"bytes={CUT}-", f"bytes={2 * CUT if ranges else CUT}-"]


def test_what_arrived_is_kept_for_the_next_call(tmp_path, server):
    server.cuts = 3
    with pytest.raises(InputError, match=r"cannot be fetched from http.*12,288 bytes are kept in .*t\.jsonl\.part"):
        pull("mine", tmp_path / "t.jsonl", url=server.url, sha256=server.sha256)
    assert not (tmp_path / "t.jsonl").exists()
    assert len(pull("mine", tmp_path / "t.jsonl", url=server.url, sha256=server.sha256)) == 500
    assert server.asked[-1] == "bytes=12288-"


def test_of_two_calls_for_one_target_one_fetches(tmp_path, server):
    with ThreadPoolExecutor(4) as pool:
        calls = [
            pool.submit(pull, "mine", tmp_path / "t.jsonl", url=server.url, sha256=server.sha256) for _ in range(4)
        ]
        assert [len(call.result()) for call in calls] == [500] * 4
    assert server.asked == [None]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["served.jsonl", "t.jsonl"]


def test_a_target_in_no_folder_is_rejected_before_anything_is_fetched(tmp_path, server):
    with pytest.raises(InputError, match=r"t\.jsonl: cannot be written \(.*no is not a folder\)"):
        pull("mine", tmp_path / "no" / "t.jsonl", url=server.url, sha256=server.sha256)
    assert not server.asked


def test_a_part_that_is_complete_is_used(tmp_path, server):
    (tmp_path / "t.jsonl.part").write_bytes(server.content)
    assert len(pull("mine", tmp_path / "t.jsonl", url=server.url, sha256=server.sha256)) == 500


def test_no_connection_and_no_such_file(tmp_path, server):
    with pytest.raises(InputError, match=r"mine: cannot be fetched from http://127\.0\.0\.1:1/x"):
        pull("mine", tmp_path / "t.jsonl", url="http://127.0.0.1:1/x", sha256="0" * 64)
    with pytest.raises(InputError, match=r"mine: cannot be fetched from file:///x \(No connection adapters"):
        pull("mine", tmp_path / "t.jsonl", url="file:///x", sha256="0" * 64)
    with pytest.raises(InputError, match="its ending names no layout"):
        pull("mine", tmp_path / "t.txt", url=server.url, sha256=server.sha256)
    assert not server.asked
    with pytest.raises(InputError, match="unknown published trace 'mooncake-conv'; did you mean 'mooncake-conv"):
        pull("mooncake-conv")


@pytest.mark.parametrize("sha256", ["abc", "x" * 64])
def test_a_bad_hash_is_rejected_before_anything_is_fetched(tmp_path, server, sha256):
    with pytest.raises(InputError, match=f"mine: sha256 must be 64 hexadecimal digits, got '{sha256}'"):
        pull("mine", tmp_path / "t.jsonl", url=server.url, sha256=sha256)
    assert not server.asked


def test_names_stay_in_the_folder(tmp_path, server, monkeypatch):
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    with pytest.raises(InputError, match=r"'\.\./out': is not a file name; expected a name without folders, or a path"):
        pull("../out", url=server.url, sha256=server.sha256)
    assert len(pull("../out", "t.jsonl", url=server.url, sha256=server.sha256.upper())) == 500
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in", "served.jsonl", "t.jsonl"]


def test_an_existing_file_is_not_presented_as_the_published_one(tmp_path):
    write_trace(Trace.of([0], [5]), tmp_path / "t.jsonl")
    done = CliRunner().invoke(main, ["traces", "pull", "azure-conversation-2023", "--out", str(tmp_path / "t.jsonl")])
    assert done.exit_code == 0 and "neither fetched nor checked" in done.output and "licence" not in done.output


@needs_traces
def test_what_is_published_is_named_by_its_hash():
    files = {"azure-conversation-2023": AZURE, "mooncake-conversation": MOONCAKE}
    assert sorted(files) == sorted(PUBLISHED)
    for name, file in files.items():
        assert hashlib.sha256(gzip.decompress(file.read_bytes())).hexdigest() == PUBLISHED[name].sha256
