"""JSON text in bounded time: checked before it is parsed, and parsed and written a piece at a time."""
