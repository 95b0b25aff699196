"""Policies: how one is named and given options, and what each chooses in situations made by hand."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsim.calibration.costs.predictor import SoloPredictor
from flowsim.core.passes import Execution, Pass
from flowsim.core.policy import check_policy
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.core.timeline import CHECKED_AFTER, Forward, Timeline
from flowsim.errors import InputError
from flowsim.policies.chunked import Chunked
from flowsim.policies.edf import EDF
from flowsim.policies.fcfs import FCFS
from flowsim.policies.flowprefill import S_EDF, FlowPrefill
from flowsim.policies.registry import NAMES, describe_policies, load_policy, policy_spec
from flowsim.policies.sjf import SJF
from support.costs import pencil
from support.reference import Site

# Names and options.


@pytest.mark.parametrize(
    ("spec", "policy"),
    [
        ("fcfs", FCFS()),
        ("fcfs:", FCFS()),
        ("chunked:512", Chunked(512)),
        ("chunked:budget=512", Chunked(512)),
        ("sjf:4096,cut=layer", SJF(4096, cut="layer")),
        ("edf:block", EDF(cut="block")),
        ("flowprefill:cut=layer,wake=cuts,batch_tokens=1,reserve=.5", FlowPrefill("layer", "cuts", 1, 0.5)),
        ("flowsim.policies.edf:EDF", EDF()),
        ("flowsim.policies.edf:EDF:cut=none", EDF(cut="none")),
    ],
)
def test_a_specification_names_a_policy_and_its_options(spec: str, policy: Any) -> None:
    assert load_policy(spec) == policy


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("flowprefil", "unknown policy 'flowprefil'; did you mean 'flowprefill'?"),
        ("chunkd:2048", "unknown policy 'chunkd'; did you mean 'chunked'?"),
        ("", "unknown policy ''"),
        ("edf:ct=layer", "unknown option of policy edf 'ct'; did you mean 'cut'? (known: cut, wake)"),
        ("fcfs:cut=layer", "unknown option of policy fcfs 'cut' (known: batch_tokens)"),
        ("edf:cut=layr", "unknown cut 'layr'; did you mean 'layer'?"),
        ("edf:wake=event", "unknown wake 'event'; did you mean 'events'?"),
        ("edf:layer,cuts", "option 'cuts' lacks its value (write cuts=VALUE)"),
        ("chunked:many", "option budget must be a whole number, got 'many'"),
        ("chunked:1.5", "option budget must be a whole number, got '1.5'"),
        ("flowprefill:reserve=lots", "option reserve must be a number, got 'lots'"),
        ("flowprefill:reserve=1.5", "option reserve must be between 0 and 1, got 1.5"),
        ("flowprefill:reserve=nan", "option reserve must be between 0 and 1, got nan"),
        ("flowprefill:batch_tokens=0", "option batch_tokens must be >= 1, got 0"),
        ("fcfs:-1", "option batch_tokens must be >= 1, got -1"),
        ("sjf:0", "option batch_tokens must be >= 1, got 0"),
        ("chunked:0", "option budget must be >= 1, got 0"),
        ("no_such_module:Mine", "cannot import 'no_such_module'"),
        ("flowsim.policies.edf:EFD", "unknown policy class in module flowsim.policies.edf 'EFD'; did you mean 'EDF'?"),
    ],
)
def test_a_wrong_specification_is_refused_in_one_line(spec: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        load_policy(spec)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


OWN = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Mine:
    eager: bool = False
    share: float = 0.5
    cut: str = "layer"
    wake: str = "events"

    def choose(self, view):
        return None

class NoChoice:
    cut, wake = "none", "events"

class NoCut:
    def choose(self, view):
        return None

class Broken:
    cut, wake = "none", "events"

    def __init__(self):
        raise KeyError("two\\nlines")

    def choose(self, view):
        return None

class Demanding:
    cut, wake = "none", "events"

    def __init__(self, needed):
        self.needed = needed

    def choose(self, view):
        return None
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_own_policies.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.delitem(sys.modules, "my_own_policies", raising=False)
    return "my_own_policies"


def test_a_policy_of_ones_own_is_found_in_the_current_folder(own_module: str) -> None:
    policy: Any = load_policy(f"{own_module}:Mine:eager=TRUE,share=0.25,cut=block")
    assert (policy.eager, policy.share, policy.cut) == (True, 0.25, "block")
    assert str(policy_spec(policy)) == f"{own_module}:Mine:eager=True,share=0.25,cut=block"
    assert load_policy(policy_spec(policy)) == policy
    needing: Any = load_policy(f"{own_module}:Demanding:needed=7")
    assert needing.needed == "7"


def test_the_working_directory_is_searched_last_and_only_for_policies_of_ones_own(own_module: str) -> None:
    before = sys.path.copy()
    load_policy("flowprefill")
    assert sys.path == before
    load_policy(f"{own_module}:Mine")
    assert sys.path == [*before, str(Path.cwd())]


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("Mein", "unknown policy class in module my_own_policies 'Mein'; did you mean 'Mine'?"),
        ("Mine:eager=yes", "option eager must be true or false, got 'yes'"),
        ("NoChoice", "policy NoChoice: has no method choose(view)"),
        ("NoCut", "policy NoCut: has no attribute cut; expected one of 'none', 'chunk', 'layer'"),
        ("Broken", "KeyError"),
        ("Demanding", "missing 1 required positional argument: 'needed'"),
    ],
)
def test_what_is_wrong_with_a_policy_of_ones_own_is_said(own_module: str, rest: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        load_policy(f"{own_module}:{rest}")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["1 / 0", "def", "import no_such_module_at_all"])
def test_a_module_that_cannot_be_imported_is_said_in_one_line(own_module: str, text: str) -> None:
    Path(f"{own_module}.py").write_text(text)
    with pytest.raises(InputError, match=r"^policy 'my_own_policies:Mine': cannot import 'my_own_policies': .*\Z"):
        load_policy(f"{own_module}:Mine")


cuts, wakes, counts = st.sampled_from(sorted(CHECKED_AFTER)), st.sampled_from(["events", "cuts"]), st.integers(1, 10**6)


@given(
    st.one_of(
        st.builds(FCFS, counts),
        st.builds(Chunked, counts),
        st.builds(SJF, counts, cuts, wakes),
        st.builds(EDF, cuts, wakes),
        st.builds(FlowPrefill, cuts, wakes, counts, st.floats(0, 1)),
    )
)
def test_a_policy_is_made_again_from_its_specification(policy: Any) -> None:
    assert load_policy(policy_spec(policy)) == policy


def test_every_short_name_works_and_is_described() -> None:
    described = {name: (what, options) for name, what, options in describe_policies()}
    for name in NAMES:
        policy = load_policy(name)
        assert str(policy_spec(policy)) == name
        assert check_policy(policy) is policy
        assert described[name][0].endswith(".")
    assert described["edf"][1] == "cut=operator, wake=events"


# Choices. The view is that of the reference engine, its state put there by hand.


def situation(
    now: float = 0.0,
    waiting: Sequence[Request] = (),
    running: Any = None,
    paused: Sequence[Any] = (),
    started: Sequence[Request] = (),
    solo: Any = lambda tokens, context: float(tokens),
    **limits: int,
) -> Any:
    """A view with these requests and executions; predictions are a second a token unless `solo` says otherwise."""
    view = Site(FCFS(), pencil(), SoloPredictor("by hand", solo), ServerOptions(**{"block_tokens": 1, **limits}))
    view.now, view.running = now, running
    view.waiting, view.paused, view.started = list(waiting), list(paused), list(started)
    passes = [*paused, *([running] if running else [])]
    view.holding = [*view.started, *(request for execution in passes for request in execution.requests)]
    view.launched = len(view.paused) + (running is not None)
    return view


def request(id: int, tokens: int, slo_s: float = 1000.0, arrival_s: float = 0.0) -> Request:
    return Request(id, arrival_s, tokens, slo_s, predicted_s=float(tokens))


def executing(*members: Request, left: float | None = None) -> Execution:
    """A pass over whole requests of which this many tokens are left."""
    tokens = sum(member.tokens for member in members)
    timeline = Timeline([Forward(tokens, (), 0.0, 1, float(tokens), float(tokens))], "none")
    execution = Execution(tuple((member, member.tokens) for member in members), timeline)
    execution.predicted_s = tokens if left is None else left
    execution.tokens = int(execution.predicted_s)
    return execution


def ids(choice: Pass | Execution | None) -> list[int]:
    assert isinstance(choice, Pass)
    assert all(tokens == member.tokens for member, tokens in choice.parts)
    return [member.id for member, _ in choice.parts]


def test_fcfs_takes_the_longest_prefix_under_its_cap() -> None:
    queue = [request(0, 4), request(1, 3), request(2, 5), request(3, 1)]
    assert ids(FCFS(7).choose(situation(waiting=queue))) == [0, 1]
    assert ids(FCFS(100).choose(situation(waiting=queue))) == [0, 1, 2, 3]
    assert ids(FCFS(2).choose(situation(waiting=queue))) == [0]  # a longer prompt runs alone
    assert ids(FCFS(100).choose(situation(waiting=queue, kv_tokens=8))) == [0, 1]
    assert FCFS().choose(situation(waiting=queue, kv_tokens=3)) is None
    assert FCFS().choose(situation()) is None


def test_chunked_fills_a_budget_with_begun_prompts_first() -> None:
    begun = request(5, 10)
    begun.context, begun.tokens = 7, 3
    queue = [request(6, 4), request(7, 9), request(8, 1)]
    view = situation(waiting=queue, started=[begun])
    assert Chunked(12).choose(view) == Pass(((begun, 3), (queue[0], 4), (queue[1], 5)))
    assert Chunked(2).choose(view) == Pass(((begun, 2),))
    tight = situation(waiting=queue, started=[begun], kv_tokens=18)
    assert Chunked(12).choose(tight) == Pass(((begun, 3), (queue[0], 4)))
    assert Chunked(12).choose(situation()) is None


def test_sjf_takes_the_shortest_and_fills_up_with_the_next() -> None:
    queue = [request(0, 6), request(1, 2), request(2, 3), request(3, 2)]
    assert ids(SJF(8).choose(situation(waiting=queue))) == [1, 3, 2]
    assert ids(SJF(1).choose(situation(waiting=queue))) == [1]
    nearly_done, long = executing(request(4, 9), left=1.0), executing(request(5, 9))
    assert SJF(cut="layer").choose(situation(waiting=queue, running=nearly_done)) is nearly_done
    assert ids(SJF(2, cut="layer").choose(situation(waiting=queue, running=long))) == [1]
    assert SJF(cut="layer").choose(situation(paused=[long, nearly_done])) is nearly_done


def test_edf_takes_whatever_is_due_first() -> None:
    early, late = request(0, 5, slo_s=10.0), request(1, 1, slo_s=20.0)
    assert ids(EDF().choose(situation(waiting=[late, early]))) == [0]
    running, paused = executing(late), executing(early)
    assert EDF().choose(situation(running=running, paused=[paused])) is paused
    assert EDF().choose(situation(running=running, waiting=[request(2, 1, slo_s=30.0)])) is running
    assert EDF().choose(situation()) is None
    hasty = request(3, 5, slo_s=15.0, arrival_s=6.0)
    assert ids(EDF().choose(situation(now=6.0, waiting=[late, hasty]))) == [1]  # due at 20, not at 21


def test_flowprefill_puts_what_can_make_it_first_by_deadline() -> None:
    tight, loose = request(0, 5, slo_s=20.0), request(1, 5, slo_s=30.0)
    policy = FlowPrefill(batch_tokens=5)
    assert ids(policy.choose(situation(waiting=[loose, tight]))) == [0]
    assert ids(policy.choose(situation(now=14.9, waiting=[loose, tight]))) == [0]
    assert ids(policy.choose(situation(now=15.0, waiting=[loose, tight]))) == [1]  # no slack left: hopeless


def test_flowprefill_batches_in_order_while_the_head_has_time() -> None:
    head = request(0, 10, slo_s=100.0)
    others = [request(1, 50, slo_s=110.0), request(2, 20, slo_s=120.0), request(3, 30, slo_s=130.0)]
    view = situation(waiting=[head, *others])
    assert ids(FlowPrefill(reserve=0.1).choose(view)) == [0, 1, 2]  # 10 + 50 + 20 <= 90 < ... + 30
    assert ids(FlowPrefill(reserve=0.25).choose(view)) == [0, 1]  # the first that takes too long ends it
    assert ids(FlowPrefill(batch_tokens=41).choose(view)) == [0, 2]  # the too long ones are skipped
    assert ids(FlowPrefill(batch_tokens=9).choose(view)) == [0]
    assert ids(FlowPrefill().choose(situation(waiting=[head, *others], kv_tokens=45))) == [0, 2]


def test_flowprefill_without_an_slo_batches_whatever_the_reserve() -> None:
    queue = [request(0, 10, slo_s=float("inf")), request(1, 10, slo_s=float("inf"))]
    for reserve in (0.0, 0.1, 1.0):
        assert ids(FlowPrefill(reserve=reserve).choose(situation(now=5.0, waiting=queue))) == [0, 1]


def test_corner_case_1_a_head_in_its_reserve_runs_alone_but_late_requests_ride_along() -> None:
    head, filler = request(0, 4, slo_s=100.0), request(1, 1, slo_s=200.0)
    assert ids(FlowPrefill().choose(situation(now=85.0, waiting=[head, filler]))) == [0, 1]
    assert ids(FlowPrefill().choose(situation(now=91.0, waiting=[head, filler]))) == [0]
    late = request(2, 5, slo_s=50.0)
    assert ids(FlowPrefill().choose(situation(now=60.0, waiting=[late, head, filler]))) == [0, 1, 2]
    assert ids(FlowPrefill().choose(situation(now=60.0, waiting=[late]))) == [2]
    assert ids(FlowPrefill().choose(situation(now=60.0, waiting=[late, request(3, 9, slo_s=40.0)]))) == [2]


def test_corner_case_2_a_batch_is_predicted_as_one_sequence() -> None:
    head, other = request(0, 10, slo_s=500.0), request(1, 10, slo_s=600.0)
    assert ids(FlowPrefill().choose(situation(waiting=[head, other], solo=lambda n, c: n**2))) == [0, 1]
    # Apart 2 * 200 s, as one sequence 800 s.
    assert ids(FlowPrefill().choose(situation(waiting=[head, other], solo=lambda n, c: 2 * n**2))) == [0]


def test_corner_case_3_what_is_left_ignores_the_context_before_it() -> None:
    predictor = SoloPredictor("by hand", lambda tokens, context: float(tokens + 100 * context))
    running = executing(request(0, 10))
    assert predictor.left(running, 6.0, 4, 1.0) == 3.0


def test_corner_case_4_an_oversized_head_blocks_smaller_requests() -> None:
    running = executing(request(0, 6, slo_s=900.0))
    oversized, small = request(1, 8, slo_s=100.0), request(2, 2, slo_s=200.0)
    view = situation(waiting=[oversized, small], running=running, kv_tokens=10)
    assert FlowPrefill().choose(view) is running
    assert FlowPrefill().choose(situation(waiting=[oversized, small], kv_tokens=7)) is None
    assert FlowPrefill().choose(situation(waiting=[oversized, small], running=running, slots=1)) is running


def test_corner_case_5_an_executing_request_out_of_slack_gives_way_even_when_nearly_done() -> None:
    nearly_done, waiting = executing(request(0, 50, slo_s=60.0), left=1.0), request(1, 30, slo_s=500.0)
    assert FlowPrefill().choose(situation(now=58.9, running=nearly_done, waiting=[waiting])) is nearly_done
    assert ids(FlowPrefill().choose(situation(now=59.0, running=nearly_done, waiting=[waiting]))) == [1]


def test_corner_case_6_late_requests_go_by_latest_deadline_and_are_not_dropped() -> None:
    late = [request(0, 5, slo_s=10.0), request(1, 5, slo_s=30.0), request(2, 5, slo_s=20.0)]
    view = situation(now=100.0, waiting=late)
    order = [view.next_waiting(S_EDF)]
    while (following := view.next_waiting(S_EDF, order[-1])) is not None:
        order.append(following)
    assert [late.id for late in order] == [1, 2, 0]
    assert ids(FlowPrefill().choose(view)) == [1]


def test_a_negative_prediction_counts_as_nothing_left() -> None:
    overdue = executing(request(0, 5, slo_s=10.0), left=-4.0)
    assert S_EDF.rank(overdue, 9.9)[0] is False
    assert S_EDF.rank(overdue, 10.0)[0] is True
