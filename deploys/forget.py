"""Drop data that was set aside, for good, once a platform backup newer than the cut-over is complete.

    pyinfra inventories/prod.py deploys/forget.py                            asks which
    pyinfra inventories/prod.py deploys/forget.py -y --data set_aside=before_20260131_040112 \
        --data confirm=prod
    pyinfra inventories/prod.py deploys/forget.py --data older_than=30d      all that is older
    pyinfra inventories/prod.py deploys/forget.py --data keep=2              all but the newest two

What an undo needs goes by its name alone. Drops nothing outside the schemas that are shown, and refuses
where something outside depends on them.
"""

from pyinfra import host

from tasks.rollback import operations as interface

if "interface" in host.groups:
    interface.forgotten(name="Drop what was set aside")
