"""The reader of YAML and JSON: plain values and their lines, and errors of one line."""

import os
from pathlib import Path

import pytest

from flowsim.errors import InputError
from flowsim.io.documents import located, mapping, parse, read


def test_keys_are_the_text_that_was_written() -> None:
    assert parse("1024: 0.5\non: [yes, 2]\n", "mix.yaml") == {"1024": 0.5, "on": [True, 2]}


def test_colons_make_no_numbers_of_base_60() -> None:
    text = "[10:20, 1:30, 190:20:30.15, -1:30, 1_0:30, 2, -2.5, 1e3, '7']"
    assert parse(text, "f.yaml") == ["10:20", "1:30", "190:20:30.15", "-1:30", "1_0:30", 2, -2.5, "1e3", "7"]


def test_what_another_part_is_merged_into_is_not_repeated() -> None:
    assert parse("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  x: 3\n", "f.yaml")["b"] == {"x": 3, "y": 2}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("f.yaml", "a: 1\nb: 2\na: 3\n", "f.yaml: line 3: the key 'a' is repeated"),
        ("f.yaml", "{1: a, '1': b}", "f.yaml: line 1: the key '1' is repeated"),
        ("f.yaml", "[1, 2]: 3\n", "f.yaml: line 1: a key must be text, not a list or a mapping"),
        ("f.yaml", "a: [1", "f.yaml: line 1: is not YAML: while parsing a flow sequence"),
        ("f.yaml", "a: 2026-99-99", "f.yaml: is not YAML: month must be in 1..12"),
        ("f.yaml", "a: !!int ''", "f.yaml: is not YAML: a value is none of the type that its tag (!!int) names"),
        ("f.yaml", "a: !!bool x", "f.yaml: is not YAML: a value is none of the type that its tag (!!int) names"),
        ("f.yaml", "a: !!timestamp x", "f.yaml: is not YAML: a value is none of the type that its tag (!!int) names"),
        ("f.json", '{"a": {"b": 1, "b": 2}}', "f.json: the key 'b' is repeated"),
        ("f.json", "{", "f.json: is not JSON: Expecting property name"),
        ("f.json", "[" * 100_000, "f.json: is not JSON that can be read: it is nested too deep"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as raised:
        read(tmp_path / name)
    assert str(raised.value).removeprefix(f"{tmp_path}/").startswith(said)
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_read_says_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"no\.yaml: cannot be read: No such file .*; expected a study$"):
        read(tmp_path / "no.yaml", "a study")
    with pytest.raises(InputError, match=r"f\.yaml: is not text in UTF-8: .*; expected a study$"):
        read(tmp_path / "f.yaml", "a study")


def test_a_mapping_is_one(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("- 1\n")
    with pytest.raises(InputError, match=r"f\.yaml must be a mapping of options, got \[1\]$"):
        mapping(tmp_path / "f.yaml", "a mapping of options")


def test_every_part_has_a_line(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("run:\n  trace: example\naxes:\n  seed:\n    - 1\n    - 2\n")
    document = located(tmp_path / "f.yaml")
    assert document.values == {"run": {"trace": "example"}, "axes": {"seed": [1, 2]}}
    assert document.lines == {
        ("run",): 1,
        ("run", "trace"): 2,
        ("axes",): 3,
        ("axes", "seed"): 4,
        ("axes", "seed", 0): 5,
        ("axes", "seed", 1): 6,
    }


def test_a_part_of_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("&a [*a]\n")
    with pytest.raises(InputError, match=r"f\.yaml: contains itself \(a YAML anchor that refers to itself\)"):
        located(tmp_path / "f.yaml")


def bomb(levels: int) -> str:
    """A list of two lists of two lists: 2^levels values in a few lines."""
    lines = ["a0: &a0 [x, x]", *(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]" for k in range(1, levels))]
    return "\n".join(lines)


def test_aliases_that_stand_for_too_many_values_are_refused_at_once(tmp_path: Path) -> None:
    assert len(parse(bomb(15), "f.yaml")) == 15
    for levels in (20, 400):  # 2^400 values would never be counted one by one
        with pytest.raises(InputError, match=r"^f\.yaml: line 19: holds more than 1,000,000 values, with those that"):
            parse(bomb(levels), "f.yaml")


def test_a_pipe_or_a_device_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", Path("/dev/zero")):
        with pytest.raises(InputError, match=r": is a pipe or a device; expected a study$"):
            read(path, "a study")
