"""Every column of requests.parquet is defined, and nothing else is."""

from __future__ import annotations

import flowsim
from flowsim.results.definitions.requests_parquet import REQUESTS
from support.results import names


def test_every_column_of_the_requests_is_defined(result: flowsim.RunResult) -> None:
    assert result.cached.any()
    assert ["key", *result.requests.columns] == names(REQUESTS)
