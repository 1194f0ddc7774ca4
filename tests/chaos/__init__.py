"""Kills the service at random points and checks that it keeps its promises: `python -m tests.chaos --kills 200`."""
