"""SHA-256 of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from flowsim.io.folders import check_ends


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal. InputError: it is a pipe or a device."""
    check_ends(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
