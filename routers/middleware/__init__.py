"""Wraps every request in pure ASGI middlewares: one job a module. `order` has their order."""
