"""A pass is given a stretch of rows of the KV cache, or waits for one."""

import pytest

from flowsim.calibration.gpu.decoder import Decoder
from flowsim.core.passes import Pass
from flowsim.core.policy import View
from flowsim.core.request import Request
from flowsim.engine.kv import taken_tokens
from support.served import ROWS, executed

torch = pytest.importorskip("torch")


def test_a_prompt_that_finds_no_stretch_of_rows_waits_for_one(decoder: Decoder) -> None:
    """Of 6000 rows 4000 are free once the first and the third have ended, 2000 of them before the second."""

    class InTurn:
        """Begins all that fit, a chunk each, then goes on with the one whose SLO is the shortest."""

        cut = "none"
        wake = "events"

        def choose(self, view: View) -> Pass | None:
            if view.running is not None:
                return None
            for request in view.waiting:
                if request.kv_tokens <= view.free_tokens:
                    return Pass(((request, 16),))
            left = min(view.started, key=lambda request: request.slo_s, default=None)
            return None if left is None else Pass.whole(left)

    sizes, slos = (2000, 2000, 1600, 3000, ROWS), (1.0, 3.0, 2.0, 4.0, 5.0)  # the last needs all, of which none is lost
    requests = [
        Request(i, 0.0, n, slo, kv_tokens=taken_tokens(n, 16))
        for i, (n, slo) in enumerate(zip(sizes, slos, strict=True))
    ]
    replay = executed(InTurn(), decoder, requests, kv_tokens=ROWS)  # type: ignore[arg-type]
    ledger = replay.outcome.ledger
    assert replay.scattered > 0
    assert ledger.finished_s[0] < ledger.finished_s[2] < ledger.finished_s[1] < ledger.started_s[3]
    assert all(token >= 0 for token in replay.first_tokens)
