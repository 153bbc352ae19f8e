"""Roll the interface back: its code to an earlier release and its data to a backup, as one transaction.

    pyinfra inventories/prod.py deploys/rollback.py                 asks for what it needs, with lists
    pyinfra inventories/prod.py deploys/rollback.py --dry --diff    shows all, changes nothing

Inputs, each as `--data NAME=VALUE`:

    tag       a release's tag, a full commit, or `none` for the data alone
    backup    latest, before:TIME, id:ID, file:PATH, or `none` for the code alone
    strategy  beside (default), or drop where there is no room for both
    reason    why, for the team's channel and the journal
    confirm   the environment's name, where it is protected and nobody is at a terminal
    signoff, loss    the data administrator's name and the token of the list of what is lost
    skip_GATE        the reason that stands in for a gate

What was live is set aside, not dropped: `deploys/undo.py` brings it back, `deploys/forget.py` drops it.
"""

from pyinfra import host

from tasks.rollback import operations as interface

if "interface" in host.groups:
    interface.rolled_back(name="Roll back code and data")
