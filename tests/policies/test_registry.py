"""How a policy is named and given options, shipped or of one's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsim.core.operators import CHECKED_AFTER
from flowsim.core.policy import check_policy
from flowsim.errors import InputError
from flowsim.policies.catalogue import TABLE
from flowsim.policies.chunked import Chunked
from flowsim.policies.edf import EDF
from flowsim.policies.fcfs import FCFS
from flowsim.policies.flowprefill import FlowPrefill
from flowsim.policies.parts.orders import ORDERS
from flowsim.policies.registry import describe_policies, load_policy, policy_spec
from flowsim.policies.sjf import SJF


@pytest.mark.parametrize(
    ("spec", "policy"),
    [
        ("fcfs", FCFS()),
        ("fcfs:", FCFS()),
        ("fcfs:8192,batch_requests=64", FCFS(8192, 64)),
        ("chunked:512", Chunked(512)),
        ("chunked:budget=512", Chunked(512)),
        ("sjf:4096,cut=layer", SJF(4096, cut="layer")),
        ("edf:block", EDF(cut="block")),
        (
            "flowprefill:cut=layer,wake=cuts,batch_tokens=1,reserve=.5",
            FlowPrefill(cut="layer", wake="cuts", batch_tokens=1, reserve=0.5),
        ),
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
        (":", "unknown policy ':'"),
        ("edf:ct=layer", "unknown option 'ct' of policy edf; did you mean 'cut'? (known: admission, batch_requests, "),
        ("chunked:cut=layer", "unknown option 'cut' of policy chunked (known: budget)"),
        ("edf:order=edd", f"unknown order 'edd'; did you mean 'edf'? (known: {', '.join(sorted(ORDERS))})"),
        ("edf:batching=slow", "unknown batching 'slow'; did you mean 'slo'? (known: fill, none, order, slo)"),
        (
            "edf:admission=hopless",
            "unknown admission 'hopless'; did you mean 'hopeless'? (known: all, hopeless, late-by-edf, late-by-fcfs)",
        ),
        ("edf:suspend=0", "option suspend must be > 0 seconds, got 0.0"),
        ("edf:cut=layr", "unknown cut 'layr'; did you mean 'layer'?"),
        ("edf:wake=event", "unknown wake 'event'; did you mean 'events'?"),
        ("edf:cut=operator,cut=none", "option cut is given twice"),
        ("edf:cut=operator,,batching=slo", "has an empty option in 'cut=operator,,batching=slo'; expected one comma"),
        ("edf:cut=operator,", "has an empty option in 'cut=operator,'; expected one comma between options"),
        ("chunked:2048,budget=512", "option budget: is given twice, by position and by name"),
        ("edf:layer,cuts", "option 'cuts' lacks its value (write cuts=VALUE)"),
        ("chunked:many", "option budget must be a whole number, got 'many'"),
        ("chunked:9223372036854775808", "option budget must be a whole number from -2^53 to 2^53, got '92233720368547"),
        ("chunked:1.5", "option budget must be a whole number, got '1.5'"),
        ("flowprefill:reserve=lots", "option reserve must be a number, got 'lots'"),
        ("flowprefill:reserve=1.5", "option reserve must be between 0 and 1, got 1.5"),
        ("flowprefill:reserve=nan", "option reserve must be between 0 and 1, got nan"),
        ("flowprefill:batch_tokens=0", "option batch_tokens must be >= 1, got 0"),
        ("fcfs:-1", "option batch_tokens must be >= 1, got -1"),
        ("fcfs:batch_requests=0", "option batch_requests must be >= 1, got 0"),
        ("sjf:0", "option batch_tokens must be >= 1, got 0"),
        ("chunked:0", "option budget must be >= 1, got 0"),
        ("no_such_module:Mine", "cannot import 'no_such_module'"),
        (
            "../mine:Mine",
            "../mine is not the name of a module; expected MODULE:CLASS, as in mine:Mine, with the module",
        ),
        (
            "mine.py:Mine",
            "mine.py is not the name of a module; expected MODULE:CLASS, as in mine:Mine, with the module",
        ),
        ("edf:cut=layer:wake=cuts", "has 'cut=layer:wake=cuts'; expected a comma between options: cut=layer,wake=cuts"),
        ("flowsim.policies.edf:EFD", "unknown policy class 'EFD' in module flowsim.policies.edf; did you mean 'EDF'?"),
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

def factory():
    raise RuntimeError("called")

class NoChoice:
    def __init__(self):
        raise RuntimeError("called")

    cut, wake = "none", "events"

class NoCut:
    def choose(self, view):
        return None

class Quits(NoCut):
    def __init__(self):
        raise GeneratorExit


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
        ("Mein", "unknown policy class 'Mein' in module my_own_policies; did you mean 'Mine'?"),
        ("Mine:eager=yes", "option eager must be true or false, got 'yes'"),
        ("NoChoice", "policy NoChoice: has no method choose(view)"),
        ("factory", "unknown policy class 'factory' in module my_own_policies"),
        ("dataclass", "unknown policy class 'dataclass' in module my_own_policies"),
        ("NoCut", "policy NoCut: has no attribute cut; expected one of 'none', 'chunk', 'layer'"),
        ("Broken", "KeyError"),
        ("Quits", "policy 'my_own_policies:Quits': raised GeneratorExit (my_own_policies.py, line "),
        ("Demanding", "missing 1 required positional argument: 'needed'"),
    ],
)
def test_what_is_wrong_with_a_policy_of_ones_own_is_said(own_module: str, rest: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        load_policy(f"{own_module}:{rest}")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("spec", ["os:system:touch run", "subprocess:Popen:touch run", "antigravity:X"])
def test_nothing_of_pythons_own_is_imported_or_called_for_a_name(own_module: str, spec: str) -> None:
    sys.modules.pop("antigravity", None)
    with pytest.raises(InputError, match=rf"^policy '{spec}': \w+ is a module of Python; expected one of your own$"):
        load_policy(spec)
    assert not Path("run").exists() and "antigravity" not in sys.modules


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
        st.builds(SJF, counts, cut=cuts, wake=wakes),
        st.builds(EDF, cut=cuts, wake=wakes),
        st.builds(FlowPrefill, cut=cuts, wake=wakes, batch_tokens=counts, reserve=st.floats(0, 1)),
    )
)
def test_a_policy_is_made_again_from_its_specification(policy: Any) -> None:
    assert load_policy(policy_spec(policy)) == policy


def test_every_short_name_works_and_is_described() -> None:
    described = {policy.name: policy for policy in describe_policies()}
    for name in TABLE:
        policy = load_policy(name)
        assert str(policy_spec(policy)) == name
        assert check_policy(policy) is policy
        assert described[name].what.endswith(".")
        assert described[name].source
    assert described["chunked"].options == {"budget": 2048}
    parts = {name: described["edf"].options[name] for name in ("cut", "wake", "order", "batching", "admission")}
    assert parts == {"cut": "operator", "wake": "events", "order": "edf", "batching": "none", "admission": "all"}
