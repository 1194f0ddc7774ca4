"""Runs, from the first event to the last: driven, written, read, suspended, recorded, recovered.

Doors: `task` and `live` (the runs of this process), `admission` (their limits), `readers`, `writer` (where an agent
writes events), `suspension` and `waiting` (waits and their answers), `records` (the database's rows), `projection`
(messages from events), `folding` (the JSON answer), `idempotency`, `recovery`, `deletions`.
"""
