"""The presets of the SLOs."""

import pickle

import pytest

from flowsim.core.slo_mix import SLOMix
from flowsim.errors import InputError
from support.traces import classed


@pytest.mark.parametrize(
    ("model", "slos"),
    [
        ("llama3-8b", [0.25, 0.5, 4, 6]),
        ("qwen2.5-14b", [0.4, 0.8, 6.5, 9]),
        ("llama3-70b", [1, 2, 15, 18]),
    ],
)
def test_the_papers_slos(model, slos):
    assigned = SLOMix.preset(model).assign(classed("text", "image", "search", "file"))
    assert assigned.ttft_slo_s.tolist() == slos
    assert assigned.class_names == ("text", "image", "search", "file")
    assert assigned.class_code.tolist() == [0, 1, 2, 3]
    assert assigned.excluded == 0


def test_a_preset_is_not_shadowed_by_a_file_and_a_mix_survives_pickling(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "llama3-8b").write_text("ttft_s: {text: 9}")
    mix = SLOMix.parse("llama3-8b")
    assert mix == SLOMix.preset("llama3-8b") == pickle.loads(pickle.dumps(mix))


def test_no_slos_are_invented_for_a_model_without():
    """The paper evaluates this one too, but its SLOs are not known to us."""
    with pytest.raises(InputError, match=r"no TTFT SLOs are known for the model 'qwen3-30b-a3b' \(known, from "):
        SLOMix.preset("qwen3-30b-a3b")
    with pytest.raises(InputError, match=r"unknown SLO mix 'llama3-7b'; did you mean 'llama3-"):
        SLOMix.parse("llama3-7b")
