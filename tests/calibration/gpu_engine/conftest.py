"""A decoder on the CPU, and its inference mode."""

from collections.abc import Iterator

import pytest

from flowsim.calibration.gpu.decoder import Decoder
from support.served import ROWS, SPEC


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder(SPEC, "cpu", rows=ROWS, dtype="float32", seed=3)


@pytest.fixture
def inference() -> Iterator[None]:
    torch = pytest.importorskip("torch")
    with torch.inference_mode():
        yield
