"""What runs around every request, as pure ASGI middlewares: one job a module. `app.py` has their order."""
