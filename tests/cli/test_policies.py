"""`flowsim policies`: the list, one explained, one begun."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from flowsim.policies import catalogue
from flowsim.policies.catalogue import TABLE
from support.cli import done, refused, tree

pytestmark = pytest.mark.usefixtures("folder")


def test_every_policy_is_listed_with_its_source() -> None:
    text = done("policies")
    listed = {line.split()[0] for line in text.splitlines() if line.strip()}
    assert {*TABLE, *(row.family for row in TABLE.values())} <= listed
    assert "arXiv 2602.16603" in text


def test_a_policy_is_explained() -> None:
    text = done("policies", "flowprefill")
    assert text.startswith("Slack-aware earliest deadline first with SLO-aware batching")
    for part in (
        "cut             operator",
        "reserve         0.1",
        "--policy flowprefill:cut=operator",
        "in time  ##",
    ):
        assert part in text


def test_a_policy_is_begun_and_its_test_passes() -> None:
    said = "wrote my_policy.py and test_my_policy.py; run it with --policy my_policy:MyPolicy\n"
    assert done("policies", "new", "my_policy") == said
    assert done("run", "t.jsonl", "--policy", "my_policy:MyPolicy:cut=layer")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_policy.py"]
    tested = subprocess.run(command, capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout
    assert "2 passed" in tested.stdout
    before = Path("my_policy.py").read_bytes()
    assert refused("policies", "new", "my_policy").startswith("my_policy.py: exists already")
    assert Path("my_policy.py").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["edff"], "policy: unknown policy 'edff'; did you mean 'edf'?"),
        (["edf", "sjf"], "policies must be nothing, NAME, or new NAME, got 'edf sjf'"),
        (["new", "3rd"], "NAME must be a name of a Python module, got '3rd'"),
        (["new", "class"], "NAME must be a name of a Python module, got 'class'"),
        (["new"], "NAME must be a name of a Python module, got ''"),
        (["new", "a-b"], "NAME must be a name of a Python module, got 'a-b'"),
        (["new", "../a"], "NAME must be a name of a Python module, got '../a'"),
        (["new", "\ufb01ne"], "NAME must be a name of a Python module, got '\ufb01ne'"),  # Python imports fine.py
        (["new", "json"], "NAME: json is an installed module; expected the name of a new policy"),
        (["new", "sys"], "NAME: sys is an installed module; expected"),
        (["new", "numpy"], "NAME: numpy is an installed module; expected"),
        (["new", "flowsim"], "NAME: flowsim is an installed module; expected"),
        (["new", "edf"], "NAME: edf is a policy; expected the name of a new policy"),
        (["new", "own_policies"], "own_policies.py: exists already; expected the name of a new policy"),
        (["new", "holds"], "holds: exists already; expected the name of a new policy"),
        (["new", "half"], "test_half.py: exists already; expected the name of a new policy"),
    ],
)
def test_what_is_none_is_refused(words: list[str], message: str) -> None:
    Path("holds").mkdir()
    Path("test_half.py").touch()
    before = tree()
    assert refused("policies", *words).startswith(message)
    assert tree() == before


@pytest.mark.parametrize(
    ("name", "kind"),
    [("request", "PolicyRequest"), ("none", "PolicyNone"), ("_1", "Policy1"), ("MY_CLASS", "MyClass"), ("_", "Policy")],
)
def test_the_class_of_a_new_policy_has_a_name_of_its_own(name: str, kind: str) -> None:
    assert done("policies", "new", name).endswith(f"run it with --policy {name}:{kind}\n")
    assert "attained" in done("run", "t.jsonl", "--policy", f"{name}:{kind}")
    assert f"from {name} import {kind}\n" in Path(f"test_{name}.py").read_text()
    sys.modules.pop(name)


def forget() -> None:
    """Look the installed policies up again when they are next asked for."""
    catalogue.installed.cache_clear()
    catalogue._named.cache_clear()


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution that registers a policy under a short name."""
    Path("plugged.py").write_text("from flowsim.policies.edf import EDF\n\nclass Mine(EDF):\n    '''Mine.'''\n")
    found = importlib.metadata.EntryPoints([EntryPoint("mine", "plugged:Mine", catalogue.GROUP)])
    monkeypatch.setattr(catalogue, "entry_points", lambda group: found)
    monkeypatch.syspath_prepend(Path.cwd())
    forget()
    yield
    forget()
    sys.modules.pop("plugged", None)


@pytest.mark.usefixtures("plugin")
def test_an_installed_policy_has_a_short_name_and_is_imported_when_it_is_named() -> None:
    assert "plugged:Mine" in done("policies")
    assert "plugged" not in sys.modules
    assert "attained" in done("run", "t.jsonl", "--policy", "mine:cut=layer")
    assert "plugged" in sys.modules
    said = refused("run", "t.jsonl", "--policy", "mime")
    assert said.startswith("--policy: unknown policy 'mime'; did you mean 'mine'?")


def test_a_name_that_two_classes_have_or_that_holds_a_colon_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"a:One": "mine", "b:Two": "mine", "c:Three": "x:y"}
    found = importlib.metadata.EntryPoints(EntryPoint(name, place, catalogue.GROUP) for place, name in named.items())
    monkeypatch.setattr(catalogue, "entry_points", lambda group: found)
    forget()
    said = refused("run", "t.jsonl", "--policy", "mine:cut=layer")
    assert "policy 'mine': names a:One of no distribution and b:Two of no distribution; expected MODULE:CLASS" in said
    assert "policy 'x:y': is the name of c:Three of no distribution and holds a colon" in refused(
        "run", "t.jsonl", "--policy", "x:y"
    )
    assert "attained" in done("run", "t.jsonl", "--policy", "edf")
    forget()
