"""Where the time of a device goes: executing, hand-overs, decisions, idle, each once, and together all of it."""

from __future__ import annotations

from typing import Any

import pytest

import flowsim
from flowsim.core.ledger import Ledger, Log, Recorder
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.policies.catalogue import TABLE
from flowsim.policies.edf import EDF
from support.costs import pencil
from support.timelines import replay_exactly

SPECS = [
    *TABLE,
    "edf:cut=none",
    *(f"{name}cut={cut},wake={wake}"
      for name in ("sjf:", "edf:", "flowprefill:")
      for cut in ("chunk", "layer", "operator")
      for wake in ("events", "cuts")),
]  # fmt: skip


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("load", [{"rate_scale": 0.5}, {"rate_scale": 8}, {"rate_scale": 8, "until_s": 20.123}])
def test_the_shares_add_up_to_one(spec: str, load: dict[str, Any]) -> None:
    summary = flowsim.run("example", spec, limit=120, server=ServerOptions(instances=2), **load).summary
    stands = [summary[f"{name}_share"] for name in ("deciding", "hand_over", "idle")]
    assert summary["utilization"] + sum(stands) == pytest.approx(1.0, abs=1e-12)
    assert all(share >= 0 for share in stands)
    assert stands[0] <= summary["control_share"] + 1e-12


def test_a_saturated_device_that_stops_at_every_cut_does_not_look_idle() -> None:
    summary = flowsim.run("example", "flowprefill:wake=cuts", rate_scale=1000, limit=60).summary
    assert summary["utilization"] < 0.9
    assert summary["idle_share"] == pytest.approx(0.0, abs=1e-6)
    assert summary["hand_over_share"] > 0.05


def test_the_first_instant_is_not_overdrawn() -> None:
    """The decision that is in progress counts until the end, not beyond."""
    summary = flowsim.run("example", "flowprefill", until_s=1e-9).summary
    assert (summary["utilization"], summary["idle_share"]) == (0.0, 0.0)
    assert summary["control_share"] == summary["deciding_share"] == pytest.approx(1.0)


def log_of(wake: Any, until_s: float | None = None, **more: Any) -> Log:
    """One prompt of ten tokens with cuts 2.5 s apart; at 3 s an urgent one of five arrives."""
    cost = pencil(check_s=0.5, acknowledge_s=0.25, resume_s=0.75, decision=lambda requests: 0.125 * requests, **more)
    policy = EDF(wake=wake)
    requests = [Request(0, 0.0, 10, 1000.0), Request(1, 3.0, 5, 20.0)]
    return replay_exactly(requests, policy, cost, ServerOptions(block_tokens=1), until_s=until_s).logs[0]


def test_a_signalled_device_by_hand() -> None:
    """Executing 0.875-3.375, 4.375-12.375, 13.5-24. Decisions: at 0 (it stands), 3 (it executes), 12.625 (it stands).

    Hand-overs: 0.75 to begin or resume, thrice; 0.25 to acknowledge or complete, thrice. It never idles.
    """
    log = log_of("events")
    assert (log.busy_s, log.control_s, log.deciding_s, log.hand_over_s) == (21.0, 0.5, 0.25, 3.0)
    assert log.heard_s == 24.25 == log.busy_s + log.deciding_s + log.hand_over_s


def test_a_device_that_stops_at_every_cut_by_hand() -> None:
    """Each stop at a cut takes word of it, a decision and an order, also where the same pass goes on.

    The first pass stops at its first cut at 3.375, known at 3.625, when two are looked at until 3.875. The urgent one
    has five cuts and its end; then the rest of the first has four cuts and its end: eleven stretches in all.
    """
    log = log_of("cuts")
    assert log.busy_s == 21.0
    assert log.hand_over_s == 12 * (0.75 + 0.25)
    assert log.control_s == log.deciding_s == 0.125 * (1 + 6 * 2 + 5)
    assert log.heard_s == log.busy_s + log.deciding_s + log.hand_over_s


def test_a_pass_that_proceeds_at_a_cut_pays_for_that_alone() -> None:
    """Ten tokens proceed 0.125 s after each stop, five 0.0625 s; another pass begins 0.25 + 0.25 + 0.75 s after it.

    No decision at a cut takes time, for the stop is known no sooner than the pass could proceed.
    """
    log = log_of("cuts", proceed=lambda tokens: tokens / 80)
    assert (log.busy_s, log.control_s, log.deciding_s) == (21.0, 0.25, 0.25)
    assert log.hand_over_s == 0.75 + 1.25 + 5 * 0.0625 + 1.0 + 4 * 0.125 + 0.25
    assert log.heard_s == 25.3125 == log.busy_s + log.deciding_s + log.hand_over_s


@pytest.mark.parametrize(
    ("until_s", "spent"),
    [
        (0.0625, (0.0, 0.0625, 0.0)),  # deciding
        (0.5, (0.0, 0.125, 0.375)),  # the order is on its way
        (2.0, (1.125, 0.125, 0.75)),  # executing
        (3.0625, (2.1875, 0.125, 0.75)),  # executing, and deciding
        (3.5, (2.5, 0.125, 0.875)),  # word of the stop is on its way
        (4.0, (2.5, 0.125, 1.375)),
    ],
)
def test_a_run_that_is_cut_off_by_hand(until_s: float, spent: tuple[float, ...]) -> None:
    log = log_of("events", until_s)
    assert (log.busy_s, log.deciding_s, log.hand_over_s) == spent
    assert sum(spent) == until_s


def test_a_real_replay_tells_of_a_decision_after_its_order() -> None:
    recorder = Recorder(Ledger(2))
    recorder.launched(0.5, 0, (0,), (10,))
    recorder.thought(0.25, 0.375)  # from 0.25 until 0.625, when the device had its order; given at 0.5
    recorder.completed(4.0, 0, (0,), (0,), 0.75, 3.5, 2.75, 0.0, None)
    log = recorder.log
    assert (log.busy_s, log.control_s, log.deciding_s, log.hand_over_s) == (2.75, 0.375, 0.25, 0.75)
