"""Public traces by name: fetched from their publisher, checked and converted, with licence and citation."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from msgspec import Struct

from flowsim.errors import InputError, unknown
from flowsim.io.locks import FOREVER_S, locked_file
from flowsim.traces.reading.reader import read_trace
from flowsim.traces.trace import Trace
from flowsim.traces.writers import layout_of, write_trace

TIMEOUT_S = 30
CHUNK_BYTES = 1 << 12  # lost at most when a connection breaks
TRIES = 3


class Published(Struct, frozen=True):
    """A published trace."""

    url: str
    """Address at the publisher."""
    sha256: str
    """SHA-256 of the published file."""
    licence: str
    citation: str


PUBLISHED: Mapping[str, Published] = {
    "azure-conversation-2023": Published(
        "https://raw.githubusercontent.com/Azure/AzurePublicDataset/master/data/AzureLLMInferenceTrace_conv.csv",
        "2f1e5b666d4e3055fdbba98598ce2ec307767b9064e03e2fa46676dbcc7d0bf8",
        "CC-BY 4.0",
        "Patel et al., Splitwise: Efficient generative LLM inference using phase splitting, ISCA 2024",
    ),
    "mooncake-conversation": Published(
        "https://raw.githubusercontent.com/kvcache-ai/Mooncake/main/FAST25-release/traces/conversation_trace.jsonl",
        "b8cbb061a85206d729d91cdc2981f43c9e0d99209dce588d3af5f7934408b9df",
        "Apache-2.0",
        "Qin et al., Mooncake: Trading more storage for less computation, FAST 2025",
    ),
}
"""The traces that `pull` knows by name."""


def pull(name: str, path: str | Path | None = None, *, url: str | None = None, sha256: str | None = None) -> Trace:
    """Fetch a published trace, check its SHA-256, and write it in flowsim's own format, coarse time stamps spread.

    What arrived before a connection broke is kept beside the target, and the next call resumes there. Of several
    calls for one target at the same time, one fetches and the others wait. A target that exists already is neither
    fetched again nor checked, and has no notices.

    Args:
        name: a name in `PUBLISHED`, or any name with both `url` and `sha256`.
        path: where the converted trace goes (see `write_trace`); default: NAME.jsonl.zst in the working directory.
        url: another address of the file, such as a mirror.
        sha256: SHA-256 of the file at another address.

    Raises:
        InputError: an unknown name, a bad hash, no connection, a file with another hash or that is not a trace, or a
            target that cannot be written.
    """
    if name not in PUBLISHED and not (url and sha256):
        raise unknown("published trace", name, PUBLISHED)
    known = PUBLISHED.get(name)
    address, digest = url or (known.url if known else ""), sha256 or (known.sha256 if known else "")
    if not re.fullmatch("[0-9a-fA-F]{64}", digest):
        raise InputError(f"{name}: sha256", found=digest, expected="64 hexadecimal digits")
    target = target_of(name, path)
    if not target.parent.is_dir():
        raise InputError(str(target), f"cannot be written ({target.parent} is not a folder)")
    with locked_file(target.with_name(f".{target.name}.lock"), FOREVER_S):
        return read_trace(target) if target.exists() else _fetched_and_written(name, address, digest, target)


def _fetched_and_written(name: str, url: str, sha256: str, target: Path) -> Trace:
    with tempfile.TemporaryDirectory() as folder:
        published = read_trace(_fetched(name, url, sha256, target, Path(folder)))
    write_trace(published, target)
    _part(target).unlink(missing_ok=True)
    return replace(read_trace(target), notices=published.notices)


def target_of(name: str, path: str | Path | None) -> Path:
    """Where `pull` writes.

    Raises:
        InputError: the ending of the path names no layout, or without a path the name has folders in it.
    """
    if path is None and Path(name).name != name:
        raise InputError(repr(name), "is not a file name", expected="a name without folders, or a path to write to")
    target = Path(path) if path is not None else Path(f"{name}.jsonl.zst")
    layout_of(target)
    return target


def _fetched(name: str, url: str, sha256: str, target: Path, folder: Path) -> Path:
    """The file at `url`, fetched into `folder`, with the right hash."""
    import pooch  # here, as requests below, because few commands need the network

    pooch.get_logger().setLevel("ERROR")
    try:
        return Path(pooch.retrieve(url, f"sha256:{sha256.lower()}", "trace", folder, downloader=_resuming(target)))
    except OSError as error:  # requests' error for a malformed address is a ValueError as well
        kept = _part(target)
        size = f"; {kept.stat().st_size:,} bytes are kept in {kept} to resume from" if kept.exists() else ""
        why = " ".join(str(error).split())[:200]
        raise InputError(name, f"cannot be fetched from {url} ({why}){size}") from error
    except ValueError as error:
        _part(target).unlink(missing_ok=True)  # nothing to resume from
        found = f"the SHA-256 of {url} is not {sha256[:12]}...: the file has changed or was damaged on the way"
        raise InputError(name, found) from error


def _part(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def _resuming(target: Path) -> Callable[[str, Any, Any], None]:
    """A downloader for pooch that resumes where an earlier one was cut off."""

    def download(url: str, output_file: Any, _: Any) -> None:
        import requests

        part = _part(target)
        for attempt in range(TRIES):
            try:
                _append(url, part)
                break
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                if attempt == TRIES - 1:
                    raise
        shutil.copyfile(part, output_file)

    return download


def _append(url: str, part: Path) -> None:
    """Fetch the missing rest of a file."""
    import requests

    held = part.stat().st_size if part.exists() else 0
    # Uncompressed: a range of a compressed transfer is not a range of the file.
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={held}-"} if held else {})}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return  # the file was complete
        answer.raise_for_status()
        resumed = answer.status_code == requests.codes.partial_content
        with part.open("ab" if resumed else "wb") as file:
            for chunk in answer.iter_content(CHUNK_BYTES):
                file.write(chunk)
