"""Results in one archive, with all that it takes to make them again, and the check that they come out the same."""
