"""What a policy may do besides choosing a pass: reject, set a timer, hear of events, remember; and what it may not.

Costs are those of `pencil`: a token takes a second.
"""

from __future__ import annotations

import math
from functools import cache, partial
from typing import Any

import numpy as np
import pytest

from flowsim.core.events import Rejected, Stretch, stretches
from flowsim.core.order import Fixed, Flipping, Moving, Scanned
from flowsim.core.passes import Decision, Pass
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.engine import instance_policy
from flowsim.engine.simulate import Outcome
from flowsim.errors import InputError
from flowsim.io.signals import Terminated
from support.costs import pencil
from support.timelines import replay_exactly

Row = tuple[float, int, float, str]  # arrival, tokens, SLO, class


def run(policy: Any, *rows: Any, until_s: float | None = None, **limits: Any) -> Outcome:
    cost, server = pencil(), ServerOptions(**{"block_tokens": 1, **limits})
    requests = [Request(i, *row) for i, row in enumerate(rows)]
    return replay_exactly(requests, policy, cost, server, until_s=until_s, events=True)


def ran(outcome: Outcome, instance: int = 0) -> list[Stretch]:
    assert outcome.events is not None
    return stretches(outcome.events[instance])


class FIFO:
    """One prompt a pass, in order of arrival."""

    cut, wake = "none", "events"

    def choose(self, view: Any) -> Any:
        return Pass.whole(next(iter(view.waiting))) if view.waiting and not view.running else None


# Rejection.


class Doorkeeper(FIFO):
    """Rejects what can no longer make it."""

    def choose(self, view: Any) -> Any:
        hopeless = [r for r in view.waiting if view.now + r.predicted_s > r.deadline_s]
        hopeful = [r for r in view.waiting if r not in hopeless]
        return Decision(Pass.whole(hopeful[0]) if hopeful else None, reject=hopeless)


def test_a_rejected_request_never_runs_and_is_missed() -> None:
    rows = [(0.0, 10, 99.0, "text"), (1.0, 5, 12.0, "text"), (2.0, 4, 20.0, "file"), (30.0, 9, 8.0, "file")]
    outcome = run(Doorkeeper(), *rows)
    assert ran(outcome) == [(0.0, 10.0, (0,), True), (10.0, 14.0, (2,), True)]
    assert outcome.ledger.rejected == [False, True, False, True]
    assert math.isnan(outcome.ledger.finished_s[1])
    assert outcome.events is not None
    rejected = [event for event in outcome.events[0] if isinstance(event, Rejected)]
    assert rejected == [Rejected(10.0, 1, "policy"), Rejected(30.0, 3, "policy")]


def test_a_rejection_takes_no_work_with_it() -> None:
    """The second instance is idle again once it has rejected: the third request goes there, not to the first."""
    rows = [(0.0, 10, 99.0), (1.0, 20, 5.0), (2.0, 3, 99.0)]
    outcome = run(Doorkeeper(), *rows, instances=2, router="least-work")
    assert outcome.ledger.instance == [0, 1, 1]
    assert outcome.ledger.finished_s[2] == 5.0


# Timers.


class Gather(FIFO):
    """Runs all that wait once the first of them has waited for 4 s."""

    def choose(self, view: Any) -> Any:
        if view.running or not view.waiting:
            return None
        due_s = next(iter(view.waiting)).arrival_s + 4
        return Pass.whole(*view.waiting) if view.now >= due_s else Decision(wake_at=due_s)


@pytest.mark.parametrize("decision", [Decision, lambda run: Decision(run, wake_at=None)])
def test_none_is_no_timer(decision: Any) -> None:
    outcome = run(Says(lambda view: decision(next(map(Pass.whole, view.waiting), None))), (0.0, 2, 99.0))
    assert [(one.began_s, one.ended_s) for one in ran(outcome)] == [(0.0, 2.0)]


def test_a_timer_gathers_a_batch() -> None:
    outcome = run(Gather(), (0.0, 2, 99.0), (1.0, 3, 99.0), (20.0, 1, 99.0))
    assert ran(outcome) == [(4.0, 9.0, (0, 1), True), (24.0, 25.0, (2,), True)]
    assert outcome.logs[0].decisions == 5


class Bounded(FIFO):
    """Runs the latest arrival, and goes on with a paused pass after 3 s."""

    cut = "operator"

    def choose(self, view: Any) -> Any:
        for execution in view.paused:
            if view.now >= execution.ended_s + 3:
                return Decision(execution, wake_at=view.now + 3)
        best = max([*view.waiting, *view.paused, *([view.running] if view.running else [])], key=lambda c: c.id)
        pauses = [execution.ended_s for execution in view.paused]
        run = Pass.whole(best) if isinstance(best, Request) else best
        if view.running and run is not view.running:
            pauses.append(view.now)
        return Decision(run, wake_at=min(pauses) + 3 if pauses else math.inf)


def test_a_timer_ends_a_suspension() -> None:
    outcome = run(Bounded(), (0.0, 10, 99.0), (1.0, 10, 99.0))
    # Cuts lie 2 s apart. Request 0 stops at 2 and is due at 5; request 1 stops at its next cut. The timer set then
    # rings at 8, and 1 is the latest. Request 0 is due again at 11, and 1 is the latest again at 14.
    assert ran(outcome) == [
        (0.0, 2.0, (0,), False),
        (2.0, 6.0, (1,), False),
        (6.0, 8.0, (0,), False),
        (8.0, 12.0, (1,), False),
        (12.0, 14.0, (0,), False),
        (14.0, 16.0, (1,), True),
        (16.0, 20.0, (0,), True),
    ]


def test_a_later_decision_sets_the_timer_anew() -> None:
    class Once(FIFO):
        def __init__(self) -> None:
            self.asked_s: list[float] = []

        def choose(self, view: Any) -> Any:
            self.asked_s.append(view.now)
            if view.now == 0.0:
                return Decision(wake_at=10.0)
            if view.now == 1.0:
                return Decision(wake_at=3.0)
            if view.now == 3.0:
                return Decision(wake_at=50.0)
            return Pass.whole(*view.waiting)

    outcome = run(Once(), (0.0, 1, 99.0), (1.0, 1, 99.0), (20.0, 1, 99.0))
    assert outcome.policies[0].asked_s == [0.0, 1.0, 3.0, 20.0]  # type: ignore[attr-defined]


# Hooks, and what the view counts.


class Hears(FIFO):
    """Writes down what it hears and sees."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.seen: list[Any] = []

    def on_arrival(self, request: Any, view: Any) -> None:
        self.heard.append((view.now, request.id, request in view.waiting))

    def on_completion(self, execution: Any, view: Any) -> None:
        left = [request.tokens for request in execution.requests]
        self.heard.append((view.now, execution.members, execution.taken_s, left, view.running))

    def choose(self, view: Any) -> Any:
        self.seen.append((view.now, view.instance, dict(view.attained), dict(view.missed)))
        return super().choose(view)


def test_a_policy_hears_of_arrivals_and_completions_and_sees_what_was_attained() -> None:
    rows = [(0.0, 5, 5.0, "text"), (1.0, 2, 2.0, "text"), (2.0, 1, math.inf, "none"), (3.0, 4, 99.0, "file")]
    (policy,) = run(Hears(), *rows).policies
    assert policy.heard == [  # type: ignore[attr-defined]
        (0.0, 0, False),
        (1.0, 1, False),
        (2.0, 2, False),
        (3.0, 3, False),
        (5.0, (0,), 5.0, [0], None),
        (7.0, (1,), 2.0, [0], None),
        (8.0, (2,), 1.0, [0], None),
        (12.0, (3,), 4.0, [0], None),
    ]
    assert policy.seen == [  # type: ignore[attr-defined]
        (0.0, 0, {}, {}),
        (5.0, 0, {"text": 1}, {}),
        (7.0, 0, {"text": 1}, {"text": 1}),
        (8.0, 0, {"text": 1}, {"text": 1}),  # without an SLO nothing is attained or missed
    ]


def test_a_view_says_what_fits() -> None:
    seen: list[list[bool]] = []

    class Asks(FIFO):
        def choose(self, view: Any) -> Any:
            seen.append([view.fits(request) for request in view.waiting])
            return super().choose(view)

    class Meddles(Asks):
        cut = "operator"

        def choose(self, view: Any) -> Any:
            super().choose(view)
            return Pass.whole(next(iter(view.waiting))) if not view.running else None

    run(Meddles(), (0.0, 6, 99.0), (1.0, 5, 99.0), (2.0, 4, 99.0), kv_tokens=10)
    assert seen[:3] == [[True], [False], [False, True]]
    seen.clear()
    run(Meddles(), (0.0, 6, 99.0), (1.0, 5, 99.0), slots=1)
    assert seen[:2] == [[True], [False]]


# State.


class Tags(FIFO):
    """Requests of a class take turns by what the class was given before; its order reads the policy's own state."""

    def __init__(self) -> None:
        self.given: dict[str, int] = {}
        self.tag: dict[int, int] = {}
        self.order = Fixed(lambda candidate: self.tag[candidate.id])

    def on_arrival(self, request: Any, view: Any) -> None:
        self.given[request.class_name] = self.given.get(request.class_name, 0) + request.tokens
        self.tag[request.id] = self.given[request.class_name]

    def choose(self, view: Any) -> Any:
        head = view.first(self.order)
        return Pass.whole(head) if isinstance(head, Request) else None


TURNS = [(0.0, 2, 99.0, "a"), (0.0, 2, 99.0, "a"), (0.0, 2, 99.0, "a"), (0.0, 3, 99.0, "b"), (0.0, 3, 99.0, "b")]


def test_state_is_fresh_for_every_run_and_instance() -> None:
    policy = Tags()
    expected = [(0.0, 2.0, (0,), True), (2.0, 5.0, (3,), True), (5.0, 7.0, (1,), True)]
    for _ in range(2):
        outcome = run(policy, *TURNS)
        assert ran(outcome)[:3] == expected
        assert policy.given == policy.tag == {}
    outcome = run(policy, *[row for row in TURNS for _ in range(2)], instances=2)  # round-robin: each gets them all
    for instance in range(2):
        assert [(s[0], s[1]) for s in ran(outcome, instance)[:3]] == [(0.0, 2.0), (2.0, 5.0), (5.0, 7.0)]
        assert outcome.policies[instance].given == {"a": 6, "b": 6}  # type: ignore[attr-defined]


def test_a_key_may_change_with_the_state_of_the_policy() -> None:
    class Fair(FIFO):
        """The class that was computed least."""

        def __init__(self) -> None:
            self.computed = {"a": 0, "b": 0}
            self.order = Scanned(lambda candidate, now: self.computed[candidate.class_name])

        def on_completion(self, execution: Any, view: Any) -> None:
            self.computed[execution.class_name] += execution.batch_tokens

        def choose(self, view: Any) -> Any:
            head = view.first(self.order)
            return Pass.whole(head) if isinstance(head, Request) else None

    outcome = run(Fair(), *TURNS)
    assert [stretch.members[0] for stretch in ran(outcome)] == [0, 3, 1, 4, 2]  # computed: a 2, b 3, a 4, b 6


class Owing(FIFO):
    """The class that was computed least, by a key that is reached in one of several ways."""

    def __init__(self, way: str) -> None:
        self.computed = {"a": 0, "b": 0}
        share = lambda candidate, now=0.0: self.computed[candidate.class_name]  # noqa: E731
        orders = {
            "helper": lambda: Scanned(lambda candidate, now: share(candidate)),
            "default": lambda: Scanned(lambda candidate, now, by=share: by(candidate)),
            "keyword": lambda: Scanned(lambda candidate, now, *, by=share: by(candidate)),
            "dict": lambda: {"order": Scanned(share)},
            "list": lambda: [(share,)],
            "partial": lambda: Scanned(partial(lambda by, candidate, now: by(candidate), share)),
            "held": lambda: Scanned((lambda by: lambda candidate, now: by["share"][0](candidate))({"share": [share]})),
            "method": lambda: Scanned(self.share),
            "built-in": lambda: Scanned(
                (lambda get: lambda candidate, now: get(candidate.class_name))(self.computed.get)
            ),
        }
        self.orders = orders[way]()

    def share(self, candidate: Any, now: float) -> int:
        return self.computed[candidate.class_name]

    def on_completion(self, execution: Any, view: Any) -> None:
        self.computed[execution.class_name] += execution.batch_tokens

    def choose(self, view: Any) -> Any:
        orders: Any = self.orders
        if not hasattr(self, "order"):
            found = orders["order"] if isinstance(orders, dict) else orders
            self.order = Scanned(found[0][0]) if isinstance(found, list) else found
        head = view.first(self.order)
        return Pass.whole(head) if isinstance(head, Request) else None


@pytest.mark.parametrize(
    "way", ["helper", "default", "keyword", "dict", "list", "partial", "held", "method", "built-in"]
)
def test_a_key_refers_to_the_state_of_the_copy_however_it_is_reached(way: str) -> None:
    policy = Owing(way)
    for _ in range(2):
        assert [stretch.members[0] for stretch in ran(run(policy, *TURNS))] == [0, 3, 1, 4, 2]
        assert policy.computed == {"a": 0, "b": 0}


def test_functions_that_share_a_variable_share_it_in_the_copy() -> None:
    class Counts(FIFO):
        """Counts what it was asked."""

        def __init__(self) -> None:
            asked = 0

            def ask() -> None:
                nonlocal asked
                asked += 1

            self.ask, self.asked = ask, lambda: asked

        def choose(self, view: Any) -> Any:
            self.ask()
            return super().choose(view)

    policy = Counts()
    counts: Any = run(policy, *TURNS).policies[0]
    assert counts.asked() > 0 == policy.asked()


GIVEN: Any = None


@pytest.mark.parametrize("way", ["global", "cached"])
def test_a_function_that_refers_to_the_original_all_the_same_is_refused(
    monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    policy: Any = FIFO()
    monkeypatch.setitem(globals(), "GIVEN", policy)
    policy.key = (lambda candidate: GIVEN.tag[candidate]) if way == "global" else cache(lambda candidate: policy.tag)
    with pytest.raises(InputError, match=r"^policy FIFO: cannot be copied .*: a function in it refers to the original"):
        run(policy, (0.0, 1, 9.0))


def test_a_policy_that_cannot_be_copied_is_told_so() -> None:
    policy: Any = FIFO()
    policy.source = (i for i in range(3))
    with pytest.raises(InputError, match=r"^policy FIFO: cannot be copied for each run and instance: TypeError"):
        run(policy, (0.0, 1, 9.0))


# What is wrong.


class Writes(FIFO):
    """Makes the first prompt shorter."""

    def choose(self, view: Any) -> Any:
        for request in view.waiting:
            request.tokens = 1
        return super().choose(view)


class WritesToPasses(FIFO):
    """Has the running pass be on time."""

    cut = "operator"

    def choose(self, view: Any) -> Any:
        if view.running:
            view.running.deadline_s = 0.0
        return super().choose(view)


class Drops(FIFO):
    """Takes a request out of the queue."""

    def choose(self, view: Any) -> Any:
        del view.waiting[0]


class Hopes(FIFO):
    """Awards itself."""

    def choose(self, view: Any) -> Any:
        view.attained["text"] = 100


def test_a_policy_that_writes_to_what_it_sees_is_refused() -> None:
    rows = [(0.0, 5, 9.0), (1.25, 5, 9.0)]
    with pytest.raises(InputError) as error:
        run(Writes(), *rows)
    where = "policy Writes at 0.000000 s, after the arrival of request 0 (1 waiting, 0 started, 0 paused, nothing runs)"
    assert str(error.value).startswith(
        f"{where}: raised AttributeError: immutable type: 'Request' (test_instance_policy.py"
    )
    with pytest.raises(InputError) as error:
        run(WritesToPasses(), *rows)
    where = (
        "policy WritesToPasses at 1.250000 s, after the arrival of request 1 (1 waiting, 0 started, 0 paused, 0 runs)"
    )
    assert str(error.value).startswith(f"{where}: raised AttributeError: immutable type: 'Execution'")
    for policy in (Drops(), Hopes()):
        with pytest.raises(InputError, match="raised TypeError"):
            run(policy, *rows)


class Mute(BaseException):
    """An exception, and a value, that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def raises(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(
    ("choose", "problem"),
    [
        (lambda: raises(GeneratorExit("now")), "raised GeneratorExit: now (test_instance_policy.py"),
        (lambda: raises(SystemExit(3)), "raised SystemExit: 3 (test_instance_policy.py"),
        (lambda: raises(Mute()), "raised Mute: <Mute> (test_instance_policy.py"),
        (Mute, "raised RuntimeError: no text (test_instance_policy.py"),
        (lambda: Pass((Mute(),)), "raised RuntimeError: no text"),  # type: ignore[arg-type]
        (lambda: Decision(None, Mute()), "raised RuntimeError: no text"),  # type: ignore[arg-type]
        (lambda: Decision(None, [Mute()]), "raised RuntimeError: no text"),  # type: ignore[list-item]
        (lambda: Decision(None, [], Mute()), "raised RuntimeError: no text"),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("method", ["choose", "on_arrival"])
def test_whatever_a_policy_raises_or_returns_is_said_in_one_line(method: str, choose: Any, problem: str) -> None:
    class Odd(FIFO):
        pass

    setattr(Odd, method, lambda self, *seen: choose())
    if method == "on_arrival" and "raised RuntimeError" in problem:
        run(Odd(), (0.0, 5, 9.0))  # what it returns is nobody's business
        return
    with pytest.raises(InputError) as error:
        run(Odd(), (0.0, 5, 9.0))
    assert str(error.value).startswith("policy Odd at 0.000000 s, after the arrival of request 0 (")
    assert problem in str(error.value)


def test_a_signal_that_comes_while_a_policy_decides_is_not_the_policys() -> None:
    class Waits(FIFO):
        def choose(self, view: Any) -> Any:
            raise Terminated

    with pytest.raises(Terminated):
        run(Waits(), (0.0, 5, 9.0))


class Says(FIFO):
    """Decides as it is told."""

    def __init__(self, decide: Any) -> None:
        self.decide = decide

    def choose(self, view: Any) -> Any:
        return self.decide(view)


OTHER = Request(0, 0.0, 5, 9.0)


@pytest.mark.parametrize(
    ("decide", "complaint"),
    [
        (lambda view: Decision(reject=[OTHER]), "rejected Request(0, arrived 0.000 s"),
        (lambda view: Decision(reject=[*view.waiting] * 2), "twice"),
        (lambda view: Decision(reject=next(iter(view.waiting))), "expected a list of requests"),
        (lambda view: Decision(Pass.whole(*view.waiting), [*view.waiting]), "or is rejected as well"),
        (lambda view: Decision(wake_at=view.now), "asked to be woken at 2.0; expected seconds, after now"),
        (lambda view: Decision(wake_at=math.nan), "asked to be woken at nan"),
        (lambda view: Decision("first"), "chose 'first'; expected a Pass"),  # type: ignore[arg-type]
    ],
)
def test_a_decision_that_cannot_be_is_told_so(decide: Any, complaint: str) -> None:
    with pytest.raises(InputError) as error:
        run(Says(decide), (2.0, 5, 9.0))
    assert str(error.value).startswith("policy Says at 2.000000 s, after the arrival of request 0 (")
    assert complaint in str(error.value)


def test_a_hook_that_raises_is_told_so() -> None:
    class Deaf(FIFO):
        def on_completion(self, execution: Any, view: Any) -> None:
            raise KeyError("x")

    with pytest.raises(InputError, match=r"^policy Deaf at 5\.0+ s, after the completion of pass 0 .*KeyError: 'x'"):
        run(Deaf(), (0.0, 5, 9.0))


def test_a_policy_that_leaves_requests_behind_is_told_so() -> None:
    class Lazy(FIFO):
        """Runs only pairs."""

        def choose(self, view: Any) -> Any:
            return Pass.whole(*view.waiting) if len(view.waiting) == 2 else None

    where = r"^policy Lazy at 4\.0+ s, after the arrival of request 2 \(1 waiting, 0 started, 0 paused, nothing runs\)"
    with pytest.raises(InputError, match=where + ": chose nothing for 1 request, and nothing will happen"):
        run(Lazy(), (0.0, 1, 9.0), (1.0, 1, 9.0), (4.0, 1, 9.0))
    assert run(Lazy(), (0.0, 1, 9.0), (1.0, 1, 9.0), (4.0, 1, 9.0), until_s=9.0).cut_off
    with pytest.raises(InputError, match="chose nothing for 1 request"):  # not one ran
        run(Lazy(), (0.0, 1, 9.0), until_s=9.0)


def test_a_policy_that_only_sleeps_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance_policy, "MOST_IDLE_WAKES", 50)
    sleeps = Says(lambda view: Decision(wake_at=view.now + 1))
    with pytest.raises(InputError, match=r"at 51\.0+ s, after its timer .*: its timer woke it 51 times"):
        run(sleeps, (0.0, 5, 9.0))


# Orders of a policy's own.


class Ranked(FIFO):
    """The first in an order of its own."""

    def __init__(self, order: Any) -> None:
        self.order = order

    def choose(self, view: Any) -> Any:
        best = view.first(self.order)
        return Pass.whole(best) if isinstance(best, Request) else best


FAULTY_KEYS: list[tuple[Any, str]] = [
    (lambda candidate, now: {}[candidate.id is None], "raised KeyError"),
    (lambda candidate, now: candidate.deadlin_s, "raised AttributeError"),
    (lambda candidate, now: None, "the key of an order"),
    (lambda candidate, now: float("nan"), "the key of an order"),
    (lambda candidate, now: np.ones(7), "the key of an order"),
]


@pytest.mark.parametrize(("key", "problem"), FAULTY_KEYS)
@pytest.mark.parametrize("kind", [Fixed, Flipping, Moving, Scanned])
def test_a_fault_in_the_key_of_an_order_names_the_policy_and_the_line(kind: Any, key: Any, problem: str) -> None:
    line = key.__code__.co_firstlineno
    timed = kind in (Moving, Scanned)
    mine: Any = key if timed else lambda candidate: key(candidate, 0.0)
    place = f"test_instance_policy.py, line {mine.__code__.co_firstlineno if 'key' in problem else line}"
    order = kind(mine, lambda candidate: candidate.deadline_s, mine) if kind is Flipping else kind(mine)
    with pytest.raises(InputError, match=rf"^policy Ranked at 0\.0+ s, after .*: {problem}.*\({place}\)") as said:
        run(Ranked(order), (0.0, 5, 99.0), (1.0, 5, 99.0), (2.0, 4, 99.0))
    assert "_queue" not in str(said.value)


@pytest.mark.parametrize("given", [None, "soon", math.nan])
def test_a_time_of_flipping_is_a_number(given: Any) -> None:
    order = Flipping(lambda candidate: 1, lambda candidate: given, lambda candidate: 2)
    message = r"flips_at of an order \(test_instance_policy.py, line \d+\) must be a time in seconds, got "
    with pytest.raises(InputError, match=message):
        run(Ranked(order), (0.0, 5, 99.0))


def test_an_order_made_in_choose_is_refused_at_the_second_decision() -> None:
    class Anew(FIFO):
        def choose(self, view: Any) -> Any:
            best = view.first(Fixed(lambda candidate: candidate.deadline_s))
            return Pass.whole(best) if isinstance(best, Request) else best

    line = Anew.choose.__code__.co_firstlineno + 1
    place = rf"\(test_instance_policy.py, line {line}\)"
    message = f"^policy Anew at 5.0+ s, after .*: made an order anew; expected orders made once.* {place}$"
    with pytest.raises(InputError, match=message):
        run(Anew(), (0.0, 5, 99.0), (1.0, 5, 99.0))
