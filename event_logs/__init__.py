"""Stores the events of runs: each run has one writer and many readers, and no event that was shown is ever lost."""
