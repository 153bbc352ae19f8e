"""Backups made now: one of the platform's, or an archive of our own in a place of one's choice.

Read `outlook` (what is, and what would be done about it), `making` (doing it), `destination` (where an
archive of our own goes), `runner` (around it), and `operations` (what deploy files call).
"""
