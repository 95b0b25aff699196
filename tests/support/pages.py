"""What a page holds, and Chromium to open it in, where there is one."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WAIT_MS = 300_000
"""How long anything may take on a busy machine."""


def data_of(html: str) -> list[dict[str, Any]]:
    """The parts of a page that its scripts draw."""
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    parts: list[dict[str, Any]] = json.loads(found)
    return parts


def parts_of(html: str, kind: str) -> list[dict[str, Any]]:
    """Those of a kind."""
    return [part for part in data_of(html) if part["part"] == kind]


@contextmanager
def opened(path: Path, width: int = 1200, height: int = 900) -> Iterator[Any]:
    """A page in a browser that may not use the network; any error in its scripts fails the test."""
    browsers = [found for name in BROWSERS if (found := shutil.which(name))]
    if not browsers:
        pytest.skip("needs Chromium")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra 'dev'")
    wrong: list[str] = []
    with api.sync_playwright() as playwright:
        options: dict[str, Any] = {"executable_path": browsers[0], "args": ["--no-sandbox"], "timeout": WAIT_MS}
        browser = playwright.chromium.launch(**options)
        page = browser.new_page(viewport={"width": width, "height": height}, offline=True)
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.goto(path.absolute().as_uri())
        yield page
        browser.close()
    assert wrong == []
