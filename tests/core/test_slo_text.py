"""SLOs as text."""

import pytest

from flowsim.core.slo_mix import SLOMix
from flowsim.errors import InputError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lama3-8b", "unknown SLO mix 'lama3-8b'; did you mean 'llama3-8b'?"),
        ("", "unknown SLO mix ''"),
        ("-1", "slo must be > 0, got -1.0"),
        ("0", "slo must be > 0, got 0.0"),
        ("nan", "slo must be a number > 0, got nan"),
        ("inf", "slo must be <= 2^53, got inf"),
        ("text=0.25,image", "slo must be CLASS=SECONDS pairs, got 'image'"),
        ("text=fast", "slo must be CLASS=SECONDS pairs, got 'text=fast'"),
        ("text=-2", "slo: text must be > 0, got -2.0"),
        ("text=1,text=2", "class 'text' is repeated"),
        ("=2", "class '' is empty"),
        (
            "gone.yaml",
            "gone.yaml: cannot be read: No such file or directory; expected a mapping with ttft_s: {class: seconds}",
        ),
    ],
)
def test_what_cannot_be_parsed(text, message):
    with pytest.raises(InputError) as error:
        SLOMix.parse(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
