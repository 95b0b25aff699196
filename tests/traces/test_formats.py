"""Formats whose fields the user names."""

import pytest

from flowsim.errors import InputError
from flowsim.traces import find_format


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("arrival_s=a", "has arrival_s; expected one of arrival_s, arrival_ms and arrival_date, and input_length"),
        ("arrival_s=a,arrival_ms=b,input_length=c", "expected one of arrival_s, arrival_ms and arrival_date"),
        ("arrival_s=a,input_length=", "input_length: names no field"),
        ("arrival_s=a,arrival_s=b,input_length=n", "arrival_s: is given twice"),
        ("arival_s=a", "did you mean 'arrival_s'"),
    ],
)
def test_bad_names_of_fields(spec, message):
    with pytest.raises(InputError, match=message):
        find_format(spec)
