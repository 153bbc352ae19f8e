"""Restore the interface's data alone from a backup; its code stays.

    pyinfra inventories/prod.py deploys/restore.py
    pyinfra inventories/prod.py deploys/restore.py -y --data backup=before:2026-01-31T04:00 \
        --data confirm=prod

Inputs are those of `deploys/rollback.py`, without `tag`. Where a page that was fine before fails
afterwards, the restore takes itself back.
"""

from pyinfra import host

from tasks.rollback import operations as interface

if "interface" in host.groups:
    interface.data_restored(name="Restore the data")
