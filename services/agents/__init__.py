"""Answers requests: the Dedalus agent with its tools, and the scripted simulator.

Doors: `dedalus`, `loop_state` (its limits), `budget`, `checked_output` (how output is checked), `simulated`,
`scenarios` (its scripts), `toolbox` (a run's tools), `parameters` (those of the model), `output_schema` (its check),
`conversation` (messages for a model), `tool_calls` (results as events), `provider_states` (reasoning and signatures
that providers want back).
"""
