"""The asynchronous client, from which `generate_sync.py` makes the synchronous one."""
