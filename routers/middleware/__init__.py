"""What runs around every request, as pure ASGI middlewares: one job a module. `order` has their order."""
