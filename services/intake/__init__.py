"""Takes a request, or an answer to a waiting run, to a run.

Doors: `starting` (starts runs), `answers` (answers to waiting runs), `restoring` (runs of a former process), `work`
(what a run does), `routing` (the model and upstream of a request), `budget_bounds` (the operator's bounds on budgets).
"""
