"""Try whether the interface's newest backup can be restored: where nobody uses it, and never swapped in.

    pyinfra inventories/prod.py deploys/drill.py -y      meant for every week

Where, and what must be true of what was restored, is declared as `drill` in group data. The copy is checked,
measured, and removed again whatever happens; the plans of later restores say how long they take from it.
Inputs, each as `--data NAME=VALUE`:

    backup   latest (default), before:TIME, id:ID, file:PATH
    tag      the release whose migrations the backup must fit; the running one, by default
    reason   why, for the team's channel and the journal
"""

from pyinfra import host

from tasks.drill import operations as drill

if "interface" in host.groups:
    drill.drilled(name="Try a backup")
