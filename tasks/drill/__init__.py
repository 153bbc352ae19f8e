"""Drills: a backup restored where nobody uses it, looked at, measured, and removed again.

Read `place` (where), `outlook` (what is, and what would be done), `checks` and `findings` (what must be true
of what was restored), `runner` (doing it and recording it), and `operations` (what deploy files call).
"""
