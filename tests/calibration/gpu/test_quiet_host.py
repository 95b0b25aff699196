"""A thread on a core of its own."""

import os

import pytest

from flowsim.calibration.gpu.quiet_host import on_core

torch = pytest.importorskip("torch")


def test_on_a_core_torch_computes_with_one_thread() -> None:
    cores, threads = os.sched_getaffinity(0), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with on_core(min(cores)):
            assert (os.sched_getaffinity(0), torch.get_num_threads()) == ({min(cores)}, 1)
        assert (os.sched_getaffinity(0), torch.get_num_threads()) == (cores, 2)
    finally:
        torch.set_num_threads(threads)
