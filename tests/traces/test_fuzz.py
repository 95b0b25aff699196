"""The corpus of the fuzzer, one input after another: what once broke a reader does not do so again."""

from pathlib import Path

import pytest
from fuzz.target import check

from support.places import ROOT

CORPUS = sorted((ROOT / "tests" / "fuzz" / "corpus").iterdir())


@pytest.mark.filterwarnings("ignore::flowsim.errors.InputWarning")
@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_readers_hold_on_the_corpus(tmp_path: Path, path: Path) -> None:
    check(path.read_bytes(), tmp_path)


def test_the_corpus_is_small() -> None:
    assert sum(path.stat().st_size for path in CORPUS) < 200_000
