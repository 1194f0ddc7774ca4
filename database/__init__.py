"""What is kept beside the event log: runs, sessions with their messages, idempotency keys."""
