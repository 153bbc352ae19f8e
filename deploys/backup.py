"""Make a backup of the interface's data now.

    pyinfra inventories/prod.py deploys/backup.py                          one of the platform's
    pyinfra inventories/prod.py deploys/backup.py --data to=/mnt/backups   an archive of our own

Inputs, each as `--data NAME=VALUE`:

    to       a folder for an archive of our own: pg_dump of the application's schema alone,
             read to its end and kept with a manifest, which a restore of `backup=file:PATH` checks it by
    reason   why, for the team's channel and the journal
    confirm  the environment's name, where it is protected and nobody is at a terminal
    skip_GATE        the reason that stands in for a gate
"""

from pyinfra import host

from tasks.backup import operations as backup

if "interface" in host.groups:
    backup.backed_up(name="Make a backup")
