"""Fetches URLs that callers and models name, and only from public addresses.

Doors: `url_guard` (decides which URLs are allowed), `client` (the HTTP client that connects to no others),
`fetch` (a bounded GET).
"""
