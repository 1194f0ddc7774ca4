"""Calls model servers: which one, by which rules, over which connection.

Doors: `selection` (the upstreams and the route to a model), `providers` (their table), `wire_rules` (what each
takes), `model_turn` (one call), `embedded_model`, `base_urls`.
"""
