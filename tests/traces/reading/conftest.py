"""A folder for examples."""

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all the examples of a test."""
    return tmp_path_factory.mktemp("examples")
