"""The functions that are named as the commands are."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import flowsim
from flowsim.cli.main import main
from flowsim.errors import InputError
from flowsim.traces import FORMATS, convert, load_trace, read_trace, synth


def test_arguments_of_clients_and_of_presets_are_kept_apart(tmp_path):
    path = tmp_path / "clients.json"
    client = {"rate": 1, "shape": 1, "scale": 1, "family": "Gamma", "input_pdf": {"5": 1}, "output_pdf": {"7": 1}}
    path.write_text(json.dumps({"clients": [client]}))
    assert synth(path).span_s == pytest.approx(600, abs=20)
    assert synth(path, duration_s=100, rate_rps=2).rate_rps == pytest.approx(2)
    assert len(synth("qwen")) == 1000
    for arguments in ({"requests": 50}, {"arrivals": "poisson"}, {"profile": "constant"}):
        with pytest.raises(InputError, match=f"{next(iter(arguments))}: does not apply to ServeGen clients"):
            synth(path, **arguments)
    with pytest.raises(InputError, match="duration_s: does not apply to presets"):
        synth("qwen", duration_s=600)
    with pytest.raises(InputError, match="duration_s must be a finite number of seconds > 0, got -1"):
        synth(path, duration_s=-1)


@pytest.mark.parametrize(
    "made",
    [
        lambda seed: load_trace("example").sample(5, seed),
        lambda seed: flowsim.traces.synthesize(5, seed=seed),
        lambda seed: flowsim.traces.sample("example", mix={"text": 0.5}, seed=seed),
        lambda seed: flowsim.run("example", limit=5, seed=seed),
    ],
)
def test_a_negative_seed_is_told(made):
    with pytest.raises(InputError, match=r"seed .*-1"):
        made(-1)


@pytest.mark.parametrize(("format", "requests_a_time"), [("flowsim", 1), ("qwen", 1), ("vidur", 1), ("mooncake", 10)])
def test_what_is_converted_replays_as_its_source_does(tmp_path, format, requests_a_time):
    """Only Mooncake's own reader takes time stamps for ticks."""
    row = '{{"timestamp": {}, "input_length": 5, "output_length": 1, "hash_ids": [0]}}\n'
    source, target = tmp_path / "source.jsonl", tmp_path / f"t.{FORMATS[format].layout}"
    source.write_text("".join(row.format(tick * 3000) for tick in range(20) for _ in range(10)))
    convert(source, target, format)
    assert 200 / np.unique(read_trace(target, spread=False).arrival_s).size == requests_a_time
    assert np.abs(read_trace(target).arrival_s - read_trace(source).arrival_s).max() < 1e-9
    typed = tmp_path / f"typed.{FORMATS[format].layout}"
    done = CliRunner().invoke(main, ["traces", "convert", str(source), "--to", format, "--out", str(typed)])
    assert ("ticks of 3 s" in done.output) == (format != "mooncake")
    assert typed.read_bytes() == target.read_bytes()
