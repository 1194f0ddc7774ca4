"""Does the work of the service. Nothing here knows HTTP."""
