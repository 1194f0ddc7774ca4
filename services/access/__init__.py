"""Decides who may call: makes callers of requests' credentials, and keeps API keys.

Doors: `caller` (an owner and what it may do), `rules` (what a route asks of its caller), `gate` (the caller of a
request), `key_table` (the valid keys), `api_keys` (the operations on keys), `keys` (their form), `jwt_verifier` (the
tokens of an issuer), `run_tokens`, `secret`.
"""
