"""The modules of the user's own that a policy's module imports."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flowsim.runs.own_modules import own_modules

SOURCES = {
    "mine_/__init__.py": "",
    "mine_/policy.py": "import json, numpy.linalg, flowsim.core\nfrom . import order as o\nfrom .deep.weights import W",
    "mine_/order.py": "def f():\n    import lone_, missing_\nimport mine_.policy",
    "mine_/deep/__init__.py": "from ...... import nothing",
    "mine_/deep/weights.py": "W = ",
    "mine_/unused.py": "",
    "lone_.py": "raise RuntimeError",
}


def test_those_imported_at_any_depth_are_found_without_importing_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in SOURCES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    found = own_modules("mine_.policy")
    assert {str(path.relative_to(tmp_path)) for path in found.values()} == SOURCES.keys() - {"mine_/unused.py"}
    assert not {"mine_", "lone_"} & sys.modules.keys()
