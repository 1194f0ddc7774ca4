"""Checks, parses and writes JSON text without blocking the event loop for long.

`scan` checks a text before it is parsed, `parsing` and `writing` work a piece at a time, and `text` has the plain
functions for short texts and for texts with lone surrogates.
"""
