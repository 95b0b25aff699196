"""SLO mixes: what a user may type, and what each request is promised."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsim.core.slo_mix import SLOMix
from flowsim.core.slo_presets import PRESETS
from flowsim.errors import InputError
from flowsim.traces import Trace
from support.traces import classed


def lengths(*tokens):
    return Trace.of(range(len(tokens)), tokens, name="t")


def test_without_classes_the_length_decides():
    assigned = SLOMix.preset("llama3-8b").assign(lengths(1, 1024, 1025, 4096, 4097, 16384, 16385))
    assert assigned.ttft_slo_s.tolist() == [0.25, 0.25, 0.5, 0.5, 4, 4, 6]
    assert assigned.class_code.tolist() == [0, 0, 1, 1, 2, 2, 3]
    assert assigned.class_names == ("<=1k", "<=4k", "<=16k", ">16k")
    assert assigned.rule == ("llama3-8b: by input length: <=1k 0.25 s, <=4k 0.5 s, <=16k 4 s, >16k 6 s")


def test_requests_without_an_slo_are_excluded_and_counted():
    assigned = SLOMix.parse("text=0.25").assign(classed("audio", "text", None, "text"))
    assert np.isnan(assigned.ttft_slo_s).tolist() == [True, False, True, False]
    assert assigned.excluded == 2
    assert assigned.class_names == ("audio", "text", "(none)")
    assert assigned.class_code.tolist() == [0, 1, 2, 1]


def test_no_key_of_a_file_is_there_twice(tmp_path):
    path = tmp_path / "mix.yaml"
    path.write_text("ttft_s:\n  a: 1\n  b: 2\n  a: 3\n")
    with pytest.raises(InputError, match=r"mix\.yaml: line 4: the key 'a' is repeated"):
        SLOMix.parse(str(path))
    path.write_text("length_bands: {1024: 1, [1]: 2, [2]: 3}")
    with pytest.raises(InputError, match="a key must be text"):
        SLOMix.parse(str(path))


def test_a_star_stands_for_the_rest():
    mix = SLOMix.parse("text=0.25, *=4")
    assert mix.assign(classed("audio", "text", None)).ttft_slo_s.tolist() == [4, 0.25, 4]
    assert mix.describe() == "text=0.25, *=4: by class: text 0.25 s, the rest 4 s"
    assert mix.assign(lengths(5)).class_names == ("all",)


def test_one_number_is_for_every_request():
    mix = SLOMix.parse(" 0.5 ")
    assert mix.assign(classed("audio", None)).ttft_slo_s.tolist() == [0.5, 0.5]
    assert mix.assign(lengths(5, 10**6)).ttft_slo_s.tolist() == [0.5, 0.5]
    assert mix.describe() == "0.5 s for every request"


def test_scaled():
    mix = SLOMix.preset("llama3-8b").scaled(0.5).scaled(0.8)
    assert mix.ttft_s == pytest.approx({"text": 0.1, "image": 0.2, "search": 1.6, "file": 2.4})
    assert mix.assign(lengths(20000)).ttft_slo_s == pytest.approx([2.4])
    assert mix.scale == 0.4
    assert mix.describe().startswith("llama3-8b x 0.4: by class: text 0.1 s, ")
    for factor in (0, -1, math.nan, math.inf):
        with pytest.raises(InputError, match=r"^scale must be .*, got .*$"):
            mix.scaled(factor)


def test_a_yaml_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("ttft_s: {text: 0.25, file: 6}\nlength_bands: {8000: 3, 2048: 1, '*': 9}\n")
    mix = SLOMix.parse(str(path))
    assert mix.name == "mine"
    assert mix.assign(classed("file", "text")).ttft_slo_s.tolist() == [6, 0.25]
    assigned = mix.assign(lengths(2048, 2049, 8001))
    assert assigned.ttft_slo_s.tolist() == [1, 3, 9]
    assert assigned.class_names == ("<=2k", "<=8000", ">8000")


def test_lengths_beyond_the_last_band_have_no_slo_without_a_star():
    mix = SLOMix("bands", {}, {100: 1.0})
    assert mix.assign(lengths(100, 101)).excluded == 1
    assert mix.describe(by_class=False) == "bands: by input length: <=100 1 s"


def test_one_slo_is_said_once():
    mix = SLOMix.parse("0.5")
    assert mix.describe() == mix.describe(by_class=False) == "0.5 s for every request"
    assert mix.scaled(2).describe() == "0.5 s x 2: 1 s for every request"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ttft_s: {text: soon}", "ttft_s.text must be a number > 0, got 'soon'"),
        ("ttft_s: {text: yes}", "ttft_s.text must be a number > 0, got True"),
        ("ttft_s: [1, 2]", "ttft_s must be a mapping (each value a number > 0), got [1, 2]"),
        ("ttft: {text: 1}", "unknown key of an SLO mix 'ttft'; did you mean 'ttft_s'?"),
        ("length_bands: {-5: 1}", "length band must be a positive number of tokens, or '*' for the rest, got '-5'"),
        ("length_bands: {2.5: 1}", "length band must be a positive number of tokens, or '*' for the rest, got '2.5'"),
        ("{}", "is empty; expected at least one class or length band"),
        ("[1]", "must be a mapping with ttft_s: {class: seconds}, got [1]"),
        ("", "must be a mapping with ttft_s: {class: seconds}, got nothing"),
        ("a: [", "line 1: is not YAML: "),
        (b"\xff", "is not text in UTF-8: "),
    ],
)
def test_bad_yaml_names_the_file(tmp_path, content, message):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as error:
        SLOMix.parse(str(path))
    assert str(error.value).startswith(f"{path}")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_mix_that_fits_no_request_is_an_error():
    with pytest.raises(
        InputError,
        match=r"t: no request gets an SLO from the mix 'a=1', which has a; expected SLOs of the classes b, c, or ",
    ):
        SLOMix.parse("a=1").assign(classed("b", "c"))
    with pytest.raises(InputError, match=r"t has no classes and the mix 'a=1' has no length bands; expected "):
        SLOMix.parse("a=1").assign(lengths(5))
    with pytest.raises(InputError, match="t: no request gets an SLO"):
        SLOMix("bands", {}, {100: 1.0}).assign(lengths(101))


MIXES = st.one_of(
    st.sampled_from(sorted(PRESETS)).map(SLOMix.preset),
    st.builds(SLOMix.uniform, st.floats(0.01, 100)),
    st.builds(
        SLOMix,
        st.just("drawn"),
        st.dictionaries(st.sampled_from("abc*"), st.floats(0.01, 100), min_size=1),
        st.dictionaries(st.integers(1, 10**5), st.floats(0.01, 100)),
    ),
)


@given(MIXES, st.floats(0.1, 10))
def test_to_dict_survives_json(mix, k):
    for one in (mix, mix.scaled(k)):
        assert SLOMix.from_dict(json.loads(json.dumps(one.to_dict()))) == one


@given(st.lists(st.integers(1, 30_000), min_size=1, max_size=50), st.floats(0.1, 10))
def test_a_longer_request_is_never_promised_less_time(tokens, k):
    assigned = SLOMix.preset("qwen2.5-14b").scaled(k).assign(lengths(*sorted(tokens)))
    assert (np.diff(assigned.ttft_slo_s) >= 0).all()
    assert (np.diff(assigned.class_code) >= 0).all()


def test_a_mix_of_bands_alone_goes_by_length_whatever_the_classes():
    mix = SLOMix.from_dict({"length_bands": {512: 0.1, "*": 5}})
    trace = Trace.of([0, 1], [100, 900], classes=["text", "file"])
    assert mix.assign(trace).ttft_slo_s.tolist() == [0.1, 5]
    assert mix.assign(trace).rule == "custom: by input length: <=512 0.1 s, >512 5 s"


def test_scale_in_a_file_is_not_taken_for_slo_scale(tmp_path):
    (tmp_path / "mix.yaml").write_text("ttft_s: {text: 1}\nscale: 2\n")
    with pytest.raises(InputError, match="unknown key of an SLO mix 'scale'; did you mean 'slo_scale'"):
        SLOMix.parse(str(tmp_path / "mix.yaml"))


def test_a_class_that_no_request_has_is_refused():
    trace = classed("text", "search")
    with pytest.raises(InputError, match=r"slo: unknown class 'txt' of .*; did you mean 'text'"):
        SLOMix.parse("txt=0.5,*=1").check_classes(trace)
    for fine in ("text=0.5", "text=1,search=2,*=4", "3", "llama3-8b", "text=1,image=1,search=1,file=1"):
        SLOMix.parse(fine).check_classes(trace)
    SLOMix.parse("txt=0.5,*=1").check_classes(lengths(1, 2))


def test_a_trace_without_classes_says_that_those_of_the_mix_are_not_used():
    rule = SLOMix.parse("text=.25,*=1").assign(lengths(5)).rule
    assert rule.endswith(": 1 s for every request (no request has a class, so that of text is not used)")
