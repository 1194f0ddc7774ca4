"""What the service does. Nothing here knows HTTP."""
