"""Reads a model server's answer: turns bytes into deltas, and its errors into ours. It does no I/O.

Doors: `chunks` (the stream), `deltas` (its pieces), `finish_reasons`, `errors`, `think_tags`, `call_arguments`,
`server_reports` (what comes beside the answer).
"""
