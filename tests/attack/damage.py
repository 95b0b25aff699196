"""How files and command lines are damaged: by a random generator alone, so that a seed tells all."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Sequence
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

from flowsim.archive.manifest import MANIFEST

ODD = (
    "", "null", "true", "no", "-1", "0", "1.5", "nan", ".inf", "-.inf", "1e400", "2.5", str(2**63), str(-(2**64)),
    "1e308", "9" * 4400, "[]", "{}", "[[]]", "{a: 1}", "'", '"', "!!int ''", "!!python/object:os.system x",
    "2024-01-01", "1:2:3", "0x1F", "~", "*x", "&x [*x]", "$x_1$", "\x1b[31mred", "é" * 130, "x" * 300, "../..",
    "/dev/null", "text", "a,b", "=", "%", "{",
)  # fmt: skip
"""What takes the place of a value."""
INJECTED = (
    "os:system:touch injected", "subprocess:getoutput:touch injected", "posix:system:touch injected",
    "$(touch injected)", "`touch injected`", "; touch injected",
    "| touch injected", "!!python/object/apply:os.system ['touch injected']", "!!python/name:os.system",
    "__import__('os').system('touch injected')", "{{ self.__init__.__globals__.os.system('touch injected') }}",
    "{0.__class__}", "%(injected)s", "=cmd|'touch injected'!A1", "../injected", "/proc/self/cwd/injected",
)  # fmt: skip
"""What would run code, or leave the file `injected`, if data were code."""
OWN_CODE = ("injection:Policy", "injection:Policy:budget=1")
"""Policies of the user's: what is read as data alone does not run them."""
WHOLE = (
    b"", b"\n", b"{}", b"[]", b"5", b"null", b"text", b"foo: [", b"a: &a [*a]", b"\0" * 512, b"\xff\xfe\xfa",
    b"[" * 2000, b"{" * 2000, "schön: 1".encode("utf-16"), b"PAR1", b"PK\x03\x04", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd",
    b"a0: &a0 [x,x]\n" + b"".join(b"a%d: &a%d [*a%d,*a%d]\n" % (k, k, k - 1, k - 1) for k in range(1, 40)),
)  # fmt: skip
"""What takes the place of a whole file: text that is none, other formats, brackets without end, an alias bomb."""
TABLE, PACKED, ARCHIVE = b"PAR1", b"\x1f\x8b", b"PK"
"""How Parquet, gzip and zip begin."""
TOKEN = re.compile(rb"[^\s:,\[\]{}\"'=]+")


def damaged(content: bytes, rng: Random) -> bytes:
    """The bytes of a file, with one to three things wrong."""
    if content.startswith(TABLE) and rng.random() < 0.6:
        return _table(content, rng)
    if content.startswith((PACKED, ARCHIVE)) and rng.random() < 0.6:
        return _within(content, rng, damaged)
    for _ in range(rng.choice((1, 1, 2, 3))):
        content = rng.choice(WAYS)(content, rng)
    return content


def injected(content: bytes, rng: Random, odd: Sequence[str]) -> bytes:
    """The bytes of a file, with one of these in the place of a value."""
    if content.startswith((PACKED, ARCHIVE)):
        return _within(content, rng, lambda inside, rng: injected(inside, rng, odd))
    return _token(content, rng, odd)


def damaged_words(words: Sequence[str], options: Sequence[str], rng: Random, odd: Sequence[str] = ODD) -> list[str]:
    """A command line, with one to three words wrong: odd ones come in."""
    found = list(words)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place, way = rng.randrange(1, len(found) + 1), rng.randrange(5)
        if way == 0:
            found[place:place] = [rng.choice(options), rng.choice(odd)]
        elif way == 1:
            found.insert(place, rng.choice(options))
        elif way == 2 and place < len(found):
            found[place] = rng.choice(odd)
        elif way == 3 and place < len(found):
            del found[place]
        elif place < len(found):
            found[place] = _swapped(found[place], rng)
    return [word.replace("\0", "") for word in found]


def _swapped(text: str, rng: Random) -> str:
    place = rng.randrange(len(text) + 1)
    return text[:place] + rng.choice(("", "=", ",", ":", "-", "9", ".", "é", "\x1b", *ODD[:12])) + text[place + 1 :]


def _whole(content: bytes, rng: Random) -> bytes:
    return rng.choice(WHOLE)


def _cut(content: bytes, rng: Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _flipped(content: bytes, rng: Random) -> bytes:
    some = bytearray(content)
    for _ in range(rng.choice((1, 4, 32))):
        if some:
            some[rng.randrange(len(some))] = rng.randrange(256)
    return bytes(some)


def _nulls(content: bytes, rng: Random) -> bytes:
    """As after a power cut: a part of the file is zeros."""
    start = rng.randrange(len(content) + 1)
    end = rng.randrange(start, len(content) + 1)
    return content[:start] + b"\0" * (end - start) + content[end:]


def _token(content: bytes, rng: Random, odd: Sequence[str] = ODD) -> bytes:
    found = list(TOKEN.finditer(content))
    if not found:
        return content
    token = rng.choice(found)
    return content[: token.start()] + rng.choice(odd).encode() + content[token.end() :]


def _lines(content: bytes, rng: Random) -> bytes:
    """A line is lost, repeated, moved, or indented."""
    lines = content.splitlines(keepends=True) or [b""]
    place, way = rng.randrange(len(lines)), rng.randrange(4)
    if way == 0:
        del lines[place]
    elif way == 1:
        lines.insert(rng.randrange(len(lines)), lines[place])
    elif way == 2:
        lines.insert(rng.randrange(len(lines)), lines.pop(place))
    else:
        lines[place] = b"  " + lines[place]
    return b"".join(lines)


def _table(content: bytes, rng: Random) -> bytes:
    """A Parquet file whose columns are lost, renamed, of another type, without values, or of impossible ones."""
    try:
        table = pq.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError):
        return _flipped(content, rng)
    place = rng.randrange(table.num_columns) if table.num_columns else 0
    name, n = table.column_names[place] if table.num_columns else "", table.num_rows
    columns: Sequence[Callable[[], pa.Array]] = (
        lambda: pa.array([rng.choice(ODD) for _ in range(n)]),
        lambda: pa.nulls(n),
        lambda: pa.array([rng.choice((2.5, -1.0, 7.0, float("nan"), float("inf"), 1e300)) for _ in range(n)]),
        lambda: pa.array([[1]] * n),
        lambda: pa.array([2**62] * n),
        lambda: pa.array([b"\xff"] * n),
    )
    way = rng.randrange(len(columns) + 4)
    if way < len(columns) and table.num_columns:
        table = table.set_column(place, name, columns[way]())
    elif way == len(columns):
        table = table.drop_columns([name])
    elif way == len(columns) + 1:
        table = table.rename_columns([rng.choice(ODD) if one == name else one for one in table.column_names])
    elif way == len(columns) + 2:
        table = table.slice(0, 0)
    else:
        table = table.select([name])
    with io.BytesIO() as file:
        pq.write_table(table, file)
        return file.getvalue()


def _within(content: bytes, rng: Random, way: Callable[[bytes, Random], bytes]) -> bytes:
    """What is compressed, or an entry of an archive, is damaged; the archive's manifest may know its new digest."""
    if content.startswith(PACKED):
        return gzip.compress(way(gzip.decompress(content), rng))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(entries))
    before, entries[name] = entries[name], way(entries[name], rng)
    if name != MANIFEST and rng.random() < 0.8:
        old, new = (hashlib.sha256(inside).hexdigest().encode() for inside in (before, entries[name]))
        entries[MANIFEST] = entries[MANIFEST].replace(old, new)
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            for entry, inside in entries.items():
                archive.writestr(entry, inside)
        return file.getvalue()


WAYS = (_whole, _cut, _flipped, _nulls, _token, _token, _token, _lines)
