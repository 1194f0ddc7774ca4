"""Keeps conversations: their runs as a tree, their messages, and the order of their runs.

Doors: `sessions` (what callers can do with sessions), `turns` (a run's place in its session), `retention` (deletes
what is past its retention).
"""
