"""A bundle's manifest: what is damaged, missing or outside is refused before anything is run."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import flowsim
from flowsim.archive.zipped import pack
from flowsim.errors import InputError
from support.archive import command, rewritten


def test_damage_is_found_before_anything_is_run(elsewhere: Callable[[str], Path], tmp_path: Path) -> None:
    archive = rewritten(elsewhere("run"), {"inputs/0/trace.jsonl": b"other", "extra": b""}, known=False)
    done = flowsim.reproduce(archive)
    assert (done.same, dict(done.files)) == (False, {"extra": "damaged", "inputs/0/trace.jsonl": "damaged"})
    assert command(tmp_path, f"reproduce {archive.name} -q").exit_code == 1


def test_a_file_that_is_not_in_the_bundle_is_not_read(elsewhere: Callable[[str], Path]) -> None:
    archive = elsewhere("search")
    with zipfile.ZipFile(archive) as old:
        manifest = json.loads(old.read("manifest.json"))
    manifest["places"] = {}
    rewritten(archive, {"manifest.json": json.dumps(manifest).encode()}, known=False)
    with pytest.raises(InputError, match=r"search.zip: .*trace.jsonl: is not in the bundle$"):
        flowsim.reproduce(archive, workers=1)


@pytest.mark.parametrize("place", ["{tmp}/secret", "../secret", "inputs/../../secret", "inputs/", "./inputs", "", "x"])
def test_a_place_outside_the_bundle_is_not_read(elsewhere: Callable[[str], Path], tmp_path: Path, place: str) -> None:
    archive = elsewhere("search")
    (tmp_path / "secret").write_text("arrival_s,input_length\nhunter2,1\n")
    with zipfile.ZipFile(archive) as old:
        manifest = json.loads(old.read("manifest.json"))
    place = place.format(tmp=tmp_path)
    manifest["places"] = dict.fromkeys(manifest["places"], place)
    rewritten(archive, {"manifest.json": json.dumps(manifest).encode()}, known=False)
    with pytest.raises(InputError) as error:
        flowsim.reproduce(archive, workers=1)
    said = str(error.value)
    assert (
        "manifest.json: places: " in said and f"must be a file or folder of the bundle, got {place!r:.60}"[:-1] in said
    )
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (b"{", "manifest.json: is not JSON"),
        (b"[]", "must be the manifest of a bundle"),
        (b'{"schema_version": 9}', "manifest.json: schema_version must be 1, got 9"),
        (b'{"schema_version": 1}', "manifest.json: lacks kind"),
    ],
)
def test_a_manifest_that_is_none_is_one_line(tmp_path: Path, manifest: bytes, said: str) -> None:
    pack(tmp_path / "x.zip", {"manifest.json": manifest})
    with pytest.raises(InputError, match=r"x.zip: ") as error:
        flowsim.reproduce(tmp_path / "x.zip")
    assert said in str(error.value) and "\n" not in str(error.value)
    pack(tmp_path / "x.zip", {"other": b""})
    with pytest.raises(InputError, match=r"x.zip: has no manifest.json; expected an archive that flowsim"):
        flowsim.reproduce(tmp_path / "x.zip")
