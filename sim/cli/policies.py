"""`flowsim policies`: the policies in a list, one explained, and a new one begun."""

from __future__ import annotations

import keyword
import re
import sys
import unicodedata
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import click

from flowsim.cli.command import Command, say
from flowsim.errors import InputError

NEW = "new"

POLICY = '''\
"""NAME: say here which request goes next, and where the rule comes from."""

from dataclasses import dataclass

from flowsim import Fixed, Pass, Request

# The order is one key, the smallest first; ties go to the earlier arrival. A candidate is a request, or a pass that is
# paused or running: both have tokens (left), deadline_s, predicted_s, class_name, client, priority, ...
# Fixed: the key never changes while a request waits. Flipping: once. Moving: with time, on arrays. Scanned: with
# what the policy has learned since.
ORDER = Fixed(key=lambda candidate: candidate.deadline_s)


@dataclass(frozen=True)
class CLASS:
    """The earliest deadline first, one prompt a pass."""

    # Fields are options: NAME:CLASS:cut=layer
    cut: str = "operator"  # where a running pass may be preempted: none, chunk, layer, block or operator
    wake: str = "events"  # asked at arrivals, completions and its timer; "cuts": at every cut as well

    def choose(self, view):
        """What shall run."""
        best = view.first(ORDER)  # of all that wait, have begun, are paused, or run
        if isinstance(best, Request):
            return Pass.whole(best)  # a new pass; of several requests, a batch
        return best  # a paused pass to resume, the running one to go on, or None: nothing
        # To reject requests, or to be asked again at a time: from flowsim import Decision,
        # return Decision(run=..., reject=[...], wake_at=view.now + 0.02)

    # A policy may learn. It then needs a plain __init__ with its attributes, in place of the dataclass; each run and
    # each instance starts with a fresh copy. Keep a random.Random(SEED) there if it draws at random: what the module
    # random draws differs between two runs of one command. It hears of what happens by
    # def on_arrival(self, request, view): ...
    # def on_completion(self, execution, view): ...  # took execution.taken_s
'''
TEST = '''\
"""What CLASS does with two requests, and with the example."""

import flowsim
from NAME import CLASS


def test_the_urgent_request_goes_first():
    trace = flowsim.Trace.of(arrival_s=[0.0, 0.05], input_length=[8000, 100], slo_s=[9.0, 0.5])
    requests = flowsim.run(trace, CLASS()).requests
    assert requests.finished_s[1] < requests.finished_s[0]
    assert requests.attained.all()
    assert requests.preemptions.tolist() == [1, 0]


def test_every_request_of_the_example_is_served():
    result = flowsim.run("example", CLASS())
    assert result.summary["finished"] == result.summary["requests"]
'''
IMPORTED = ("Fixed", "Pass", "Request")
"""The classes that a new policy imports."""


@click.command(cls=Command)
@click.argument("words", nargs=-1, metavar="[NAME | new NAME]")
def policies(words: tuple[str, ...]) -> None:
    """List the policies, or explain the one that NAME or MODULE:CLASS means.

    "new NAME" writes NAME.py, a policy to begin with, and its test, test_NAME.py.

    \b
    Examples:
      flowsim policies
      flowsim policies flowprefill
      flowsim policies new my_policy
    """
    if len(words) > 1 + (words[:1] == (NEW,)):
        raise InputError("policies", found=" ".join(words), expected="nothing, NAME, or new NAME")
    if words[:1] == (NEW,):
        _begin(words[1] if len(words) > 1 else "")
    elif words:
        _explain(words[0])
    else:
        _list()


def _list() -> None:
    from flowsim.policies.registry import describe_policies
    from flowsim.rendering.screen import show
    from flowsim.report.policy_text import policies_report

    show(policies_report(describe_policies()))
    say("\nWrite NAME:OPTION=VALUE,... or, for one of your own, MODULE:CLASS:OPTION=VALUE,...")
    say("flowsim policies NAME explains one, flowsim policies new NAME begins one.")


def _explain(name: str) -> None:
    from flowsim.policies.registry import describe_policy, explain_policy, load_policy
    from flowsim.rendering.screen import show
    from flowsim.report.policy_text import policy_report
    from flowsim.runs.six_requests import six_requests

    served = six_requests(load_policy(name))
    show(policy_report(name, describe_policy(name), *explain_policy(name), served))


def _begin(name: str) -> None:
    from flowsim.io.folders import exists, writing_file

    _check(name)
    kind = _class_name(name)
    texts = {Path(f"{name}.py"): POLICY, Path(f"test_{name}.py"): TEST}
    for path in (Path(name), *texts):
        if exists(path):
            raise InputError(str(path), "exists already", expected="the name of a new policy")
    words = {"NAME": name, "CLASS": kind}
    with ExitStack() as both:  # neither is there before both are written
        for path, text in texts.items():
            stage = both.enter_context(writing_file(path))
            stage.write_text(re.sub("NAME|CLASS", lambda word: words[word[0]], text), encoding="utf-8")
    say(f"wrote {name}.py and test_{name}.py; run it with --policy {name}:{kind}")


def _check(name: str) -> None:
    """Refuse a name under which Python or flowsim would not find the new module."""
    from flowsim.policies.registry import row

    if not name.isidentifier() or keyword.iskeyword(name) or unicodedata.normalize("NFKC", name) != name:
        raise InputError("NAME", found=name, expected="a name of a Python module")
    if row(name) is not None:
        raise InputError("NAME", f"{name} is a policy", expected="the name of a new policy")
    there = name in sys.stdlib_module_names or name in sys.builtin_module_names
    if there or ((found := find_spec(name)) is not None and found.origin != str(Path(f"{name}.py").resolve())):
        raise InputError("NAME", f"{name} is an installed module", expected="the name of a new policy")


def _class_name(name: str) -> str:
    kind = "".join(word.capitalize() for word in name.split("_"))
    good = kind.isidentifier() and not keyword.iskeyword(kind) and kind not in IMPORTED
    return kind if good else f"Policy{kind}"
