"""Reading the options of a run from a file; what is wrong with one is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowsim import run
from flowsim.errors import ChangedInputs, InputError
from flowsim.runs.options_file import read_options


def test_a_config_may_say_no_more_than_the_trace(folder: Path) -> None:
    Path("c.yaml").write_text("trace: trace.jsonl\n")
    with pytest.warns(
        ChangedInputs, match=r"^c.yaml: pins no trace, table or version; if flowsim wrote it, its end is m"
    ):
        options = read_options("c.yaml")
    assert run(options).summary == run("trace.jsonl").summary


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("polcy: fcfs", "unknown option 'polcy'; did you mean 'policy'?"),
        ("5: 5", "unknown option '5'"),
        ("events: true", "unknown option 'events'"),
        ("slo_scale: 2", "unknown option 'slo_scale'; did you mean 'slo.scale'?"),
        (
            "policy: [fcfs]",
            "policy must be text such as 'edf', or a mapping of name and options, got ['fcfs']",
        ),
        ("policy: fcfss", "unknown policy 'fcfss'; did you mean 'fcfs'?"),
        ("seed: 1.5", "seed must be a whole number >= 0, got 1.5"),
        ("workload: {limit: true}", "workload.limit must be a whole number >= 1, got True"),
        ("slo: {scale: big}", "slo.scale must be a number > 0, got 'big'"),
        ("until_s: soon", "until_s must be a number > 0, got 'soon'"),
        ("cost: 5", "cost must be non-empty text, got 5"),
        ("slo: [1]", "slo.mix must be a mapping or non-empty text or a number > 0, got [1]"),
        ("slo: {mix: {ttft_s: {text: soon}}}", "ttft_s.text must be a number > 0, got 'soon'"),
        ("slo: {mix: {tftt_s: {text: 1}}}", "unknown key of an SLO mix 'tftt_s'; did you mean 'ttft_s'?"),
        ("workload: {window: 5}", "workload.window must be a list (each item a number) or non-empty text, got 5"),
        ("workload: {window: [1]}", "workload.window must be FROM:TO in seconds, with 0 <= FROM < TO, got [1.0]"),
        ("workload: {window: [a, b]}", "workload.window[0] must be a number, got 'a'"),
        ("workload: {mix: text=.5;search}", "workload.mix must be CLASS=SHARE pairs, got 'text=.5;search'"),
        ("workload.mix.text: big", "workload.mix.text must be a number, got 'big'"),
        ("server: [1]", "server must be a mapping of instances, router, slots"),
        ("server: {instancs: 2}", "unknown option 'server.instancs'; did you mean 'server.instances'?"),
        ("server: {slots: 3}\nserver.slots: 4", "server.slots: is given twice"),
        ("slo: 0.5\nslo.mix: 0.7", "slo.mix: is given twice"),
        ("server: {instances: two}", "server.instances must be a whole number >= 1 and <= 100000, got 'two'"),
        ("server: {instances: 0}", "server.instances must be >= 1, got 0"),
        ("server: {router: lest-work}", "unknown router 'lest-work'; did you mean 'least-work'?"),
    ],
)
def test_a_wrong_config_is_refused_in_one_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"trace: example\n{line}\n")
    with pytest.raises(InputError) as refused:
        read_options(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "- a\n", "5\n", "policy: fcfs\n", "a: [\n", "\x00"])
def test_what_is_no_config(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    wrong = r": lacks trace| must be a mapping of the options of a run|(: line \d+)?: is not YAML"
    with pytest.raises(InputError, match=rf"c\.yaml({wrong})"):
        read_options(tmp_path / "c.yaml")
    with pytest.raises(InputError, match=r"absent\.yaml: cannot be read: No such file"):
        read_options(tmp_path / "absent.yaml")


def test_a_config_with_a_key_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("trace: example\nseed: 1\nseed: 2\n")
    with pytest.raises(InputError, match=r"c\.yaml: line 3: the key 'seed' is repeated"):
        read_options(tmp_path / "c.yaml")


def test_a_file_is_named_before_the_option(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("trace: example\nserver: {slots: 0}\n")
    with pytest.raises(InputError) as error:
        read_options(tmp_path / "c.yaml")
    assert str(error.value) == f"{tmp_path / 'c.yaml'}: line 2: server.slots must be >= 1, got 0"
