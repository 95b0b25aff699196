"""The choice of attention kernels by chunk and context."""

from flowsim.calibration.costs.attention.kernels import Choice


def test_the_choice_is_the_nearest_by_ratio() -> None:
    cells = {(16, 0): "a", (256, 0): "b", (16, 64): "c", (256, 64): "d", (16, 4096): "e", (256, 4096): "f"}
    choice = Choice.of("math", cells)
    assert [choice(t, 0) for t in (1, 64, 65, 9999)] == ["a", "a", "b", "b"]
    assert [choice(16, c) for c in (1, 512, 513, 10**6)] == ["c", "c", "e", "e"]
    assert choice(100, 600) == "f"


def test_every_kernel_has_an_example_that_fits() -> None:
    cells = {(16, 0): "cudnn", (64, 0): "cudnn", (4096, 0): "flash", (64, 256): "split", (64, 9000): "split"}
    choice = Choice.of("math", cells)
    assert choice.examples(9000) == [(16, 0, "cudnn"), (64, 256, "split"), (4096, 0, "flash")]


def test_a_context_is_never_given_a_kernel_that_knows_none() -> None:
    choice = Choice.of("math", {(16, 0): "cudnn"})
    assert (choice(16, 0), choice(16, 1)) == ("cudnn", "math")
    assert Choice("flash")(5, 5) == "flash"
