"""Kills the service at random points and looks whether a promise was broken: `python -m tests.chaos --kills 200`."""
