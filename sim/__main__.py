"""`python -m flowsim` is the command `flowsim`."""

from flowsim.cli.main import main

main(prog_name="flowsim")
