"""Turns Python functions into tools: finds, describes and checks them, and calls them in bounded time.

`tools/` at the top level holds the functions themselves.

Doors: `base` (the protocol of all tools), `decorator` (`@tool`), `registry` (the functions on offer), `results` (a
result as text), `checks` (functions that check texts), `threads` (of functions that may block).
"""
