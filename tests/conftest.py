"""Settings of all tests, and surroundings in which nothing of the user's can change what comes out.

Before flowsim is imported, the environment is reduced to what Python needs to start, and HOME becomes an empty folder.
xdist's workers and every subprocess inherit both.
"""

import atexit
import contextlib
import gc
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase

ROOT = Path(__file__).parents[1]
KEPT = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT")
KEPT_PREFIXES = ("PYTEST_", "COV_CORE_", "COVERAGE_")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def isolate(home: Path) -> None:
    """Leave no variable and no home of the user's; UTC; interruptions are heard even by what runs in the background."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith(KEPT_PREFIXES)}
    os.environ.clear()
    os.environ.update(kept)
    os.environ.update({"HOME": str(home), "USERPROFILE": str(home), "TZ": "UTC", "PYTHONUTF8": "1"})
    os.environ.update({"COLUMNS": "80", "LINES": "24", **dict.fromkeys(THREADS, "1")})
    os.environ["MPLCONFIGDIR"] = str(ROOT / ".pytest_cache" / "matplotlib")  # its list of fonts takes seconds to make
    if hasattr(time, "tzset"):
        time.tzset()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if "PYTEST_XDIST_WORKER" not in os.environ:
    HOME = tempfile.mkdtemp(prefix="flowsim-home-")
    atexit.register(shutil.rmtree, HOME, ignore_errors=True)
    isolate(Path(HOME))

if Path.cwd() != ROOT:  # python -m pytest searches the folder in which it was started
    sys.path[:] = [place for place in sys.path if place not in ("", str(Path.cwd()))]

with contextlib.chdir(os.environ["HOME"]):
    import matplotlib  # noqa: F401  (reads the matplotlibrc of the working directory)

settings.register_profile(
    "flowsim",
    deadline=None,  # a loaded machine is not a failure
    database=DirectoryBasedExampleDatabase(ROOT / ".hypothesis" / "examples"),
)
settings.load_profile("flowsim")


def pytest_collection_finish() -> None:
    """Spare collections of garbage, before each timing of a calibration, what is there from the start.

    And collect all of it rarely: Hypothesis makes so many objects that it would be done every other second.
    """
    gc.collect()
    gc.freeze()
    gc.unfreeze = lambda: None
    gc.set_threshold(2000, 10, 1000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the dearest tests first, so that no worker is left with one at the end."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")


@pytest.fixture(scope="session", autouse=True)
def _elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run in an empty folder: no test depends on where pytest was started."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    yield
    os.chdir(before)
