"""Drives runs from the first event to the last, and writes, suspends, records, restores and deletes them.

Doors: `task` and `live` (the runs of this process), `spec` (a run before it begins), `admission` (their limits),
`readers`, `writer` (where an agent writes events), `suspension` (waits and their answers), `records` and
`write_behind` (the database's rows), `projection` (messages from events), `folding` (the JSON answer), `idempotency`,
`recovery`, `deletions`.
"""
