"""The command `flowsim`, which is also `python -m flowsim`."""

from flowsim.io.signals import end_at_once

end_at_once()  # before what takes long to import

from flowsim.cli.main import main  # noqa: E402

if __name__ == "__main__":
    main(prog_name="flowsim")
