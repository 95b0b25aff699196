"""What the engine asks of a policy, and a policy of one's own for each run."""

from __future__ import annotations

from typing import Any

import pytest

from flowsim.core.policy import check_policy, own
from flowsim.errors import InputError


class Learning:
    """A policy whose function refers to what it has learned."""

    cut, wake = "none", "events"

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}
        self.count = lambda id: self.seen.get(id, 0)

    def choose(self, view: Any) -> None:
        return None


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (Learning, "policy: must be an object, got the class Learning; expected Learning()"),
        (object(), "policy object: has no method choose(view)"),
        (type("A", (), {"choose": print})(), "policy A: has no attribute cut; expected one of 'none', "),
        (type("A", (), {"choose": print, "cut": "lair", "wake": "events"})(), "unknown cut 'lair'; did you mean"),
        (type("A", (), {"choose": print, "cut": "none", "wake": "cut"})(), "unknown wake 'cut'; did you mean"),
    ],
)
def test_what_is_no_policy_is_refused(policy: object, message: str) -> None:
    with pytest.raises(InputError) as error:
        check_policy(policy)
    assert message in str(error.value)


def test_each_copy_learns_for_itself_and_its_functions_refer_to_it() -> None:
    given = Learning()
    copied = own(given)
    assert isinstance(copied, Learning)
    copied.seen[7] = 3
    assert (given.count(7), copied.count(7)) == (0, 3)


GLOBAL = Learning()


def test_a_function_that_refers_to_the_original_all_the_same_is_refused() -> None:
    GLOBAL.count = lambda id: GLOBAL.seen[id]
    with pytest.raises(InputError, match="a function in it refers to the original; expected functions that refer"):
        own(GLOBAL)


class Evasive:
    cut, wake = "none", "events"

    def choose(self, view: Any) -> None: ...

    def __deepcopy__(self, memo: Any) -> Any:
        raise GeneratorExit


class Secretive(Evasive):
    @property
    def cut(self) -> str:  # type: ignore[override]
        raise GeneratorExit


def test_whatever_a_policy_raises_when_it_is_looked_at_or_copied_is_said() -> None:
    with pytest.raises(InputError, match=r"^policy Secretive: raised GeneratorExit \(test_policy.py, line \d+\)$"):
        check_policy(Secretive())
    with pytest.raises(InputError, match=r"^policy Evasive: cannot be copied for each run and instance: GeneratorExit"):
        own(Evasive())  # type: ignore[arg-type]
