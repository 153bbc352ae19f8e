"""One transaction over an application's code and data: to a release, to a backup, and back again.

Read in this order: `inputs` (what was asked), `situation` (what is), `choices` (what is suggested),
`gates`, `planning` and `planner` (what would happen), `cells` (the next action for every state),
`transaction` (doing it) with `code` and `data` (its two sides), `runner` (around it), and `operations`
(what deploy files call).
"""
