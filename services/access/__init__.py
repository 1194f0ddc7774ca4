"""Decides who may call: the callers of requests, with what each may do.

Doors: `caller` (the owner of a request and its scopes).
"""
