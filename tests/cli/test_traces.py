"""`flowsim traces` as it is typed."""

import re

import pytest
from click.testing import CliRunner

import flowsim
from flowsim.cli.main import main
from flowsim.cli.traces import traces
from flowsim.traces import read_trace, write_trace


@pytest.fixture
def shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_trace(flowsim.example_trace().head(200), "t.jsonl")

    def run(line, status=0):
        done = CliRunner().invoke(main, ["traces", *line.split()])
        assert done.exit_code == status, done.output
        return done.output

    return run


def test_info_tells_and_draws(shell, tmp_path):
    text = shell("info t.jsonl --against example --figure t.png")
    assert re.search(r"requests +200 in 48", text)
    assert "against example" in text and "KS input" in text
    assert re.search(r"dispersion  index in windows of 1 s: [\d.]+ against [\d.]+, 10 s: - against -, 60 s: - ", text)
    assert (tmp_path / "t.png").stat().st_size > 10_000


def test_distances_of_what_is_not_known(shell):
    write_trace(flowsim.Trace.of([0, 1], [5, 6]), "u.jsonl")
    assert re.search(r"all +2 +200 +100.0 % +100.0 % +1.0000 +-\n", shell("info u.jsonl --against t.jsonl"))


@pytest.mark.parametrize(
    ("line", "requests"),
    [
        ("convert t.jsonl --out o.parquet", 200),
        ("slice t.jsonl 10: --out o.csv", 151),
        ("scale t.jsonl 2 --out o.jsonl.zst", 200),
        ("merge t.jsonl example --out o.jsonl.gz", 600),
        ("sample t.jsonl --requests 50 --mix text=.5,search=.5 --out o.jsonl", 50),
        ("synth azure-conversation --requests 30 --arrivals gamma:2 --profile ramp:1:2 --out o.jsonl", 30),
    ],
)
def test_what_is_written_is_read_again(shell, line, requests):
    text = shell(line)
    out = line.split()[-1]
    assert f"wrote {out}: {requests} requests" in text
    assert len(read_trace(out)) == requests


def test_what_a_format_cannot_hold_is_said(shell):
    assert "the format vidur cannot hold the classes (text, image, search, file)" in " ".join(
        shell("convert t.jsonl --to vidur --out o.csv").split()
    )


def test_list_names_everything(shell):
    text = shell("list")
    for name in ("example", "qwen-a", "azure-code", "mooncake-conversation", "azure-conversation-2023", "burstgpt"):
        assert name in text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("info nothing.jsonl", "no such file"),
        ("info t.jsonl --figure t.doc", "t.doc: unknown figure format; expected .png, .pdf or .svg"),
        ("slice t.jsonl 5 --out o.jsonl", "window must be FROM:TO in seconds, got '5'"),
        ("slice t.jsonl 900:950 --out o.jsonl", "t.jsonl: no request arrives from 900 s to 950 s"),
        ("slice example 5:1 --out o.jsonl", "window must be FROM:TO in seconds, with FROM < TO, got '5:1'"),
        ("convert t.jsonl --out o.txt", "its ending names no layout"),
        ("convert t.jsonl --out no/o.jsonl", "cannot be written"),
        ("synth qwen-b --out o.jsonl", "did you mean 'qwen-a'"),
        ("synth qwen-a --duration 60 --out o.jsonl", "--duration: does not apply to presets"),
        ("convert t.jsonl --out t.jsonl", "t.jsonl: is the trace to read; expected another file"),
        ("merge example t.jsonl --out ./t.jsonl", "is the trace to read"),
        ("pull nothing", "unknown published trace"),
        ("sample t.jsonl --mix txt=1 --out o.jsonl", "did you mean 'text'"),
        (
            "scale t.jsonl --out o.jsonl -- -1",
            "rate factor must be finite and > 0, with all times <= 2**40 s, got -1.0",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line(shell, line, message):
    text = shell(line, status=2)
    assert message in text
    assert text.startswith("flowsim: error: ") and text.count("\n") == 1


def test_every_command_has_an_example_and_a_twin_in_python():
    import flowsim.traces as module

    for name, command in traces.commands.items():
        assert "Example" in (command.help or "") or name == "list"
        assert callable(getattr(module, name))


def test_no_class_steers_the_terminal(shell):
    write_trace(flowsim.Trace.of([0, 1], [5, 6], classes=["a\x1b[31mred\nb", "[bold]é"]), "c.jsonl")
    text = shell("info c.jsonl --against c.jsonl")
    assert "\x1b" not in text and text.count("a\\x1b[31mred\\nb") == 2 and text.count("[bold]é") == 2


def test_a_window_without_an_end_says_so(shell):
    assert "window from 10 s on (of the trace" in shell("slice t.jsonl 10: --out o.jsonl")


def test_a_star_import_hides_nothing_of_pythons():
    import builtins

    import flowsim.traces as module

    assert not set(module.__all__) & set(dir(builtins))


def test_a_trace_of_one_instant_has_no_rate(shell):
    write_trace(flowsim.Trace.of([0, 0], [5, 6]), "one.jsonl")
    text = shell("info one.jsonl --against one.jsonl")
    assert "2 at one instant" in text and "all requests arrive at one instant" in text


def test_parts_are_merged_by_date_or_together(shell, tmp_path):
    for name, seconds in {"a": (0, 10), "b": (5, 20)}.items():
        rows = "".join(f"2023-11-16 18:00:{second:02},100,5\n" for second in seconds)
        (tmp_path / f"{name}.csv").write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}")
    assert "placed by their dates: a from 0 s, b from 5 s" in shell("merge a.csv b.csv --to azure --out o.csv")
    assert read_trace("o.csv").arrival_s.tolist() == [0, 5, 10, 20]
    assert "all traces start together" in shell("merge a.csv b.csv --together --out o.jsonl")
    assert read_trace("o.jsonl").arrival_s.tolist() == [0, 0, 10, 15]
    assert "its dates are not known" in shell("merge a.csv t.jsonl --by-date --out o.jsonl", status=2)


def test_failed_requests_are_dropped_by_a_flag(shell, tmp_path):
    (tmp_path / "f.csv").write_text("Timestamp,Request tokens,Response tokens\n0,5,6\n1,0,0\n2,7,8\n")
    assert "--drop-failed drops such rows" in shell("info f.csv", status=2)
    assert "dropped: 1 request that failed on the real server" in shell("info f.csv --drop-failed")
