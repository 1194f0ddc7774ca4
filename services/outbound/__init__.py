"""Fetches URLs that aren't the operator's, only from public addresses.

Doors: `url_guard` (which URLs are allowed), `client` (the HTTP client that keeps to them).
"""
