"""Turns Python functions into tools: found, described, checked, called in bounded time. `tools/` holds the functions.

Doors: `base` (the seam for tools), `decorator` (`@tool`), `registry` (the functions on offer), `results` (a result as
text).
"""
