"""Bring rows back from what a rollback, restore or undo has set aside, into the live tables.

    pyinfra inventories/prod.py deploys/bring_back.py                asks for what it needs, with lists
    pyinfra inventories/prod.py deploys/bring_back.py --data tables=suggestions,users
    pyinfra inventories/prod.py deploys/bring_back.py --data keys=suggestions.csv

Inputs, each as `--data NAME=VALUE`:

    set_aside  the data to take from; the newest by default
    tables     of which all rows come back that live lacks
    keys       files of rows, named after their tables: the list of losses was exported as such
    without    columns that the live tables lack, and that may stay behind
    conflicts  stop (default), keep the live rows, or replace their values
    undo       a run of this deploy: deletes exactly the rows that it has brought back
    reason     why, for the team's channel and the journal
    confirm    the environment's name, where it is protected and nobody is at a terminal

Rows that those need by a foreign key come along. Nothing that is live is written over by default.
"""

from pyinfra import host

from tasks.bring_back import operations as interface

if "interface" in host.groups:
    interface.rows_brought_back(name="Bring rows back")
