"""Stores what the event log doesn't hold: runs, sessions with their messages, idempotency keys, suspended runs.

`engine.Database` opens a database and hands out connections. The other modules are queries, a module for each table:
functions that accept such a connection. `tables` describes the tables and `migrations` builds them.
"""
