"""Calls MCP servers.

Doors: `client` (the servers and their tools), `resolution` (which servers a request names). The rest is loaded with
the first call, since the protocol's SDK is large.
"""
