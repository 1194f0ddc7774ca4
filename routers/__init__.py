"""The HTTP layer: routes, middlewares and the server's protocol. Routes are thin: the work is in services/."""
