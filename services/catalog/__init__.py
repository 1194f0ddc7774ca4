"""Lists the models and MCP servers on offer.

Doors: `catalog` (both lists).
"""
