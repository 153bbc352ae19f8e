"""One transaction over an application's code and data: to a release, to a backup, and back again.

Read in this order: `inputs` (what was asked), `situation` (what is), `choices` (what is suggested),
`gates` and `plan` (what would happen), `cells` (the next action for every state), `run` (doing it),
`operations` (what deploy files call).
"""
