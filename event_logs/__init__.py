"""The log of a run's events: one writer, many readers, what was shown is never lost."""
