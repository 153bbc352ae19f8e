"""Look at the interface as people use it: a search that finds, the form, the admin, the release shown.

    pyinfra inventories/prod.py deploys/verify.py

The admin is looked at behind its login where a check account is declared as a secret; else rows are
counted by a one-off container, and that is said.
"""

from pyinfra import host

from tasks.rollback import operations as interface

if "interface" in host.groups:
    interface.verified(name="Verify what users see")
