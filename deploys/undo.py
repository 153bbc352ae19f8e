"""Undo the last rollback, restore or undo: the code that ran before, on the data that was live before.

    pyinfra inventories/prod.py deploys/undo.py

What was written since is set aside in turn, so that an undo can be undone. Inputs: `reason`, `confirm`,
`signoff` and `loss` as for `deploys/rollback.py`.
"""

from pyinfra import host

from tasks.rollback import operations as interface

if "interface" in host.groups:
    interface.undone(name="Undo the last cut-over and push")
