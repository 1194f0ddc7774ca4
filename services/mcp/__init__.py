"""Calls MCP servers.

Doors: `client` (the servers and their tools), `resolution` (which servers a request names). The other modules are
imported with the first call, because the protocol's SDK is large.
"""
