"""Built-in traces."""

import pytest

from flowsim.errors import InputError
from flowsim.traces import example_trace, load_trace


def test_the_example_is_built_in_unless_a_file_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(load_trace("example")) == 400
    (tmp_path / "example").write_text('{"arrival_s": 0, "input_length": 5}\n')
    assert len(load_trace("example")) == 1
    assert len(load_trace("example", "flowsim", seed=3)) == 1
    with pytest.raises(InputError, match=r"exmaple: no such file or built-in trace; did you mean 'example'\?"):
        load_trace("exmaple")
    with pytest.raises(
        InputError, match=r"t.jsonl: no such file; expected a trace file or a built-in trace \(example\)"
    ):
        load_trace("t.jsonl")


def test_only_a_file_has_a_format_and_a_wrong_name_is_said_first():
    with pytest.raises(InputError, match="format: is given for 'example', which is not read from a file"):
        load_trace("example", "qwen")
    with pytest.raises(InputError, match="unknown trace format 'qwn'; did you mean 'qwen'"):
        load_trace("example", "qwn")


def test_a_folder_of_results_points_to_its_config(tmp_path):
    (tmp_path / "config.yaml").write_text("trace: example\n")
    with pytest.raises(
        InputError, match=r"is a folder; expected a trace file, or .*config\.yaml, which repeats the run"
    ):
        load_trace(tmp_path)


def test_the_example():
    trace = example_trace()
    assert repr(trace) == "Trace('example', 400 requests, 95.4553 s, 4.18 req/s)"
    assert trace.describe()["classes"] == {"text": 286, "image": 24, "search": 77, "file": 13}
    assert (trace.input_length[:4].tolist(), int(trace.input_length.max())) == ([2602, 1089, 394, 3858], 16478)
    assert trace.source == "example"  # so that it loads again
    assert "QwenTrace A (Alibaba, Apache-2.0)" in trace.notices[0]
