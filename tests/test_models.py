from pathlib import Path

import pytest

from flowsim.calibration.models import ModelSpec, load_model, model_names
from flowsim.errors import InputError

TINY = """\
name: tiny
layers: 2
hidden: 64
heads: 4
kv_heads: 2
head_dim: 16
intermediate: 128
vocab: 97
max_context: 512
rope_theta: 10000.0
norm_eps: 1.0e-5
"""


def test_llama3_8b_has_the_published_sizes() -> None:
    model = load_model("llama3-8b")
    assert model.weight_bytes == 2 * 8_030_261_248
    assert model.kv_bytes_per_token == 131_072
    assert model.qkv_width == 6144


def test_every_shipped_model_loads_under_its_name() -> None:
    assert "llama3-8b" in model_names()
    assert [load_model(name).name for name in model_names()] == model_names()


def test_a_model_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY + "qkv_bias: true\n")
    model = load_model(file)
    assert model == ModelSpec("tiny", 2, 64, 4, 2, 16, 128, 97, 512, 10000.0, 1e-5, qkv_bias=True)
    layer = 64 * 128 + 128 + 64 * 64 + 3 * 64 * 128 + 2 * 64
    assert model.weight_bytes == 2 * (2 * layer + 2 * 97 * 64 + 64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("layers: 2\n", ""), "missing: layers"),
        (("layers: 2", "layers: two"), "layers: found 'two'; allowed: a whole number from 1"),
        (("layers: 2", "layers: true"), "layers: found True; allowed: a whole number from 1"),
        (("kv_heads: 2", "kv_heads: 3"), "heads: found 4; allowed: a multiple of kv_heads, 3"),
        (("head_dim: 16", "head_dim: 15"), "head_dim: found 15; allowed: an even number, for rotary positions"),
        (("10000.0", ".inf"), "rope_theta: found inf; allowed: a number above 0"),
        (("name: tiny", "name: 5"), "name: found 5; allowed: a name"),
        (("vocab", "vocabs"), "unknown model field 'vocabs'; did you mean 'vocab'?"),
        ((TINY, "- 1"), "found list; allowed: a mapping of model fields"),
        ((TINY, "a: [1"), "not YAML: "),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(TINY.replace(*change))
    with pytest.raises(InputError) as error:
        load_model(file)
    assert str(error.value).startswith(f"{file}: {message}")
    assert "\n" not in str(error.value)


def test_a_field_that_is_neither_true_nor_false(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yml"
    file.write_text(TINY + "qkv_bias: 1\n")
    with pytest.raises(InputError, match="qkv_bias: found 1; allowed: true or false"):
        load_model(file)


def test_unknown_and_unreadable_models(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown model 'llama3-8'; did you mean 'llama3-8b'"):
        load_model("llama3-8")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load_model(tmp_path / "absent.yaml")
