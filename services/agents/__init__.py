"""Answers requests: the Dedalus agent with its tools, and the scripted simulator.

Doors: `base` (the seam to runs), `dedalus`, `loop` (its limits), `simulated`, `toolbox` (a run's tools),
`conversation` (messages for a model), `tool_calls` (results as events), `provider_states` (what providers want back).
"""
