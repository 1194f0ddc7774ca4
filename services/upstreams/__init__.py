"""Calls model servers: selects the server, writes the request in its form, and reads its answer.

Doors: `selection` (the upstreams and the route to a model), `upstream` (their vocabulary), `providers` (their table),
`prices` (what models cost), `wire_rules`, `wire_parameters` and `wire_parts` (the forms of requests), `model_turn` (one
call), `embedded_model`.
"""
