"""The reader of YAML and JSON: plain values and their lines, and errors of one line."""

from pathlib import Path

import pytest

from flowsim.errors import InputError
from flowsim.io.documents import located, mapping, parse, read


def test_keys_are_the_text_that_was_written() -> None:
    assert parse("1024: 0.5\non: [yes, 2]\n", "mix.yaml") == {"1024": 0.5, "on": [True, 2]}


def test_what_another_part_is_merged_into_is_not_repeated() -> None:
    assert parse("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  x: 3\n", "f.yaml")["b"] == {"x": 3, "y": 2}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("f.yaml", "a: 1\nb: 2\na: 3\n", "f.yaml: line 3: the key 'a' is repeated"),
        ("f.yaml", "{1: a, '1': b}", "f.yaml: line 1: the key '1' is repeated"),
        ("f.yaml", "[1, 2]: 3\n", "f.yaml: line 1: a key must be text, not a list or a mapping"),
        ("f.yaml", "a: [1", "f.yaml: is not YAML: while parsing a flow sequence"),
        ("f.yaml", "a: 2026-99-99", "f.yaml: is not YAML: month must be in 1..12"),
        ("f.json", '{"a": {"b": 1, "b": 2}}', "f.json: the key 'b' is repeated"),
        ("f.json", "{", "f.json: is not JSON: Expecting property name"),
        ("f.json", "[" * 100_000, "f.json: is not JSON: maximum recursion depth exceeded"),
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
