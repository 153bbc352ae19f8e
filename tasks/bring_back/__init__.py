"""Rows of what a rollback, restore or undo has set aside, back among the live ones; and that taken back.

Read in this order: `inputs` (what was asked), `keys` (files of rows, edited by a person), `planning` (what
would happen), `runner` (doing it), and `operations` (what the deploy file calls). The queries are in
`tasks.postgres.bring_back`.
"""
