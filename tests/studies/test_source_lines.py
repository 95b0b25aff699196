"""Where a part of a study is."""

from __future__ import annotations

import pytest

from flowsim.errors import InputError
from flowsim.io.documents import Keys
from flowsim.studies.source_lines import SourceLines

AT = SourceLines("study.yaml", {(): 1, ("run",): 2, ("run", "slo"): 3, ("axes",): 5, ("axes", "server.slots"): 6})


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ((), "study.yaml: line 1"),
        (("run", "slo"), "study.yaml: line 3: run slo"),
        (("axes", "server.slots", 1), "study.yaml: line 6: axes server.slots #2"),
        (("points", 0), "study.yaml: line 1: points #1"),
    ],
)
def test_a_part_is_said_with_the_line_that_is_known(keys: Keys, said: str) -> None:
    assert AT.say(keys) == said


def test_an_error_is_about_the_option_that_it_names() -> None:
    options: dict[str, Keys] = {"slo.mix": AT.find("run", "slo.mix"), "server.slots": ("axes", "server.slots", 0)}
    with pytest.raises(InputError) as error, AT((), options):
        raise InputError("slo.mix", found="x", expected="a mix")
    assert str(error.value).startswith("study.yaml: line 3: run slo")
    with pytest.raises(InputError) as error, AT((), options):
        raise InputError("server.slots", found=0, expected=">= 1")
    assert str(error.value) == "study.yaml: line 6: axes server.slots #1 must be >= 1, got 0"
