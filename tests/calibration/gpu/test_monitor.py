"""What the GPU's log says of clocks and power."""

from flowsim.calibration.gpu.monitor import summarise_samples


def test_the_log_of_the_gpu_is_summarised() -> None:
    log = "1980, 690.5, 0x0000000000000004\n1500, 700.1, 0x0000000000000001\n[N/A], 1, 0x0\n1965, 650.0, 0x0\n"
    assert summarise_samples(log) == {
        "clocks_mhz": {"min": 1500.0, "max": 1980.0, "median": 1965.0},
        "power_w": {"median": 690.5, "max": 700.1},
        "throttled_samples": 1,
        "samples": 3,
    }
    assert summarise_samples("") == {}
