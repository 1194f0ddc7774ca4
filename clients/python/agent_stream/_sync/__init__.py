"""The synchronous client, which `generate_sync.py` makes of the asynchronous one. Don't edit its other modules."""
