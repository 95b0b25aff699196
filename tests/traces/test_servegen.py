"""Traces from ServeGen clients."""

import json

import numpy as np
import pytest

from flowsim.errors import InputError
from flowsim.traces import synth
from flowsim.traces.servegen import synthesize_clients
from support.traces import CLIENTS, needs_traces


@needs_traces
def test_servegen_clients():
    trace = synthesize_clients(CLIENTS)
    assert trace.rate_rps == pytest.approx(42.52, rel=0.03)
    assert trace.span_s == pytest.approx(600, abs=1)
    assert synth(CLIENTS, rate_rps=5.0).rate_rps == pytest.approx(5.0)
    assert synthesize_clients(CLIENTS).sha256 == trace.sha256
    assert len(trace.client_names) == 27 and (trace.client_code >= 0).all()


def test_a_client_sends_at_its_rate_whatever_scale_was_fitted(tmp_path):
    """One of the published clients has a rate of 0.157 req/s, and a fitted shape and scale that make 1.04 req/s."""
    lengths = {"input_pdf": {"5": 1}, "output_pdf": {"7": 1}}
    clients = [
        {"client": 3, "rate": 2.0, "family": "Gamma", "shape": 0.5, "scale": 9.0, **lengths},
        {"client": 8, "rate": 1.0, "family": "Weibull", "shape": 0.7, **lengths},
    ]
    (tmp_path / "c.json").write_text(json.dumps({"clients": clients}))
    trace = synthesize_clients(tmp_path / "c.json", 20_000.0)
    sent = np.bincount(trace.client_code) / trace.span_s
    assert dict(zip(trace.client_names, sent, strict=True)) == pytest.approx({"3": 2.0, "8": 1.0}, rel=0.04)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "clients.json: is not JSON"),
        ("[]", "clients.json: is not a ServeGen specification; expected an object with a list of clients"),
        ('{"clients": [{"rate": -1}]}', "client 1: rate must be a finite number >= 0, got -1"),
        (
            '{"clients": [{"rate": 1, "shape": 1, "family": "Normal"}]}',
            "client 1: family must be Gamma or Weibull, got 'Normal'",
        ),
        (
            '{"clients": [{"rate": 1, "shape": 1, "family": "Gamma", "input_pdf": {"0": 1}}]}',
            r"client 1: input_pdf must be a mapping of tokens \(>= 1\) to probability, got {'0': 1}",
        ),
        ('{"clients": [{"rate": 0}]}', "clients.json: has no client with a request in 600 s"),
        (
            '{"clients": [{"rate": 1, "shape": 1e-9, "family": "Gamma"}]}',
            "client 1: shape must be >= 0.001, got 1e-09",
        ),
        (
            '{"clients": [{"rate": 1e9, "shape": 1, "family": "Gamma"}]}',
            r"client 1: has 6e\+11 requests in 600 s \(mean gap 1e-09 s\); expected <= 100000000 requests",
        ),
    ],
)
def test_bad_specifications_of_clients(tmp_path, text, message):
    path = tmp_path / "clients.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        synthesize_clients(path)
