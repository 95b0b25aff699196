"""Archives that would do harm are refused in one line, and nothing of them is left outside."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsim.archive import zipped
from flowsim.archive.zipped import pack, unpack
from flowsim.errors import InputError


def entry(name: str, kind: int = stat.S_IFREG) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o644) << 16
    return info


def refused(path: Path) -> str:
    """The line with which an archive is refused; it leaves nothing outside its folder."""
    folder = path.parent / "in" / "folder"
    folder.mkdir(parents=True, exist_ok=True)
    before = {place for place in path.parent.rglob("*") if folder not in place.parents}
    with pytest.raises(InputError) as error:
        unpack(path, folder)
    assert {place for place in path.parent.rglob("*") if folder not in place.parents} == before
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/tmp/x", "a//b", "./x", "a/.", "C:/x", "a\\..\\x", "", "x\ny", "\x1b[31mx"]
)
def test_names_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(entry(name), b"harm")
    assert "would lie outside, or has a name that is not a path" in refused(tmp_path / "x.zip")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR])
def test_links_folders_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(entry("link", kind), b"/etc/passwd")
    assert "has an entry 'link' that is a link, a folder or a device" in refused(tmp_path / "x.zip")


def test_archives_that_grow_out_of_hand_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(entry("zeros"), b"\0" * (300 << 20), zipfile.ZIP_DEFLATED)
    assert "would take 314,572,800 bytes unpacked; expected <= 262,144,000 for its size" in refused(tmp_path / "x.zip")
    monkeypatch.setattr(zipped, "MOST_FILES", 3)
    pack(tmp_path / "many.zip", {str(n): b"" for n in range(4)})
    assert refused(tmp_path / "many.zip").endswith("has 4 files; expected <= 3")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_is_no_plain_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(b"no archive")
    assert "is not a whole zip archive" in refused(path)
    pack(path, {"a": b"a" * 1000, "b": b"b"})
    whole = path.read_bytes()
    for damaged in (whole[:-30], whole[:53] + b"\xff\xff" + whole[55:]):
        path.write_bytes(damaged)
        assert "is not a whole zip archive" in refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry("a"), b"1")
        archive.writestr(entry("a"), b"2")
    assert "has two entries of one name" in refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry("a"), b"1", zipfile.ZIP_LZMA)
    assert "compressed in another way than deflate" in refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry("c"), b"1")
        archive.writestr(entry("c/d"), b"1")
    assert "cannot be unpacked" in refused(path)
    assert "cannot be unpacked (No such file or directory)" in refused(tmp_path / "absent.zip")
    os.mkfifo(tmp_path / "pipe.zip")
    for endless in (tmp_path / "pipe.zip", Path("/dev/zero")):
        assert "is a pipe or a device; expected a file" in refused(endless)


NAMES = st.lists(
    st.text("abcä.-_= ", min_size=1, max_size=5).filter(lambda name: set(name) != {"."}), min_size=1, max_size=3
)


@given(st.dictionaries(NAMES.map("/".join), st.binary(max_size=40), max_size=5))
def test_what_is_packed_is_unpacked(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    files = {name: content for name, content in files.items() if not any(o.startswith(f"{name}/") for o in files)}
    place = tmp_path_factory.mktemp("zip")
    pack(place / "one.zip", files)
    pack(place / "two.zip", dict(reversed(files.items())))
    assert (place / "one.zip").read_bytes() == (place / "two.zip").read_bytes()
    (place / "out").mkdir()
    assert unpack(place / "one.zip", place / "out").keys() == files.keys()
    assert {name: (place / "out" / name).read_bytes() for name in files} == files


def test_names_that_no_system_can_hold_are_not_packed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot hold a file of the name 'a\\\\b'; expected letters that print"):
        pack(tmp_path / "x.zip", {"a\\b": b""})
    assert not (tmp_path / "x.zip").exists()
