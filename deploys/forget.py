"""Drop data that was set aside, for good, once a platform backup newer than the cut-over is complete.

    pyinfra inventories/prod.py deploys/forget.py                            asks which
    pyinfra inventories/prod.py deploys/forget.py -y --data set_aside=before_20260131_040112 \
        --data confirm=prod

Drops nothing outside the schema that is named, and refuses where something outside depends on it.
"""

from pyinfra import host

from tasks.rollback import operations as interface

if "interface" in host.groups:
    interface.forgotten(name="Drop what was set aside")
