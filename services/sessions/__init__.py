"""Keeps conversations: their runs as a tree, their messages, and whose turn it is.

Doors: `sessions` (as callers see and change them), `turns` (a run's place in its session), `retention` (deletes what
is past its time).
"""
