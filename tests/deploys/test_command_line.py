"""The command that goes on after the sign-off is the one that was typed, with what it lacked."""

from __future__ import annotations

import shlex

import pytest

from tasks.rollback.command_line import typed_again

SIGNED = {"signoff": "Christian", "loss": "t1234567"}


@pytest.mark.parametrize(
    ("typed", "chosen", "again"),
    [
        (
            "inventories/prod.py deploys/rollback.py",
            {"tag": "v1.0.0", "backup": "id:b1"},
            "inventories/prod.py deploys/rollback.py --data tag=v1.0.0 --data backup=id:b1"
            " --data signoff=Christian --data loss=t1234567",
        ),
        (
            "inventories/prod.py deploys/rollback.py -y --data tag=v1 --data 'reason=pages en erreur 500'",
            {"tag": "v1"},
            "inventories/prod.py deploys/rollback.py -y --data tag=v1 --data 'reason=pages en erreur 500'"
            " --data signoff=Christian --data loss=t1234567",
        ),
        (
            "i.py u.py --data=loss=told --data signoff=Ada --limit app --data=confirm=prod",
            {},
            "i.py u.py --limit app --data=confirm=prod --data signoff=Christian --data loss=t1234567",
        ),
    ],
    ids=["what was asked for is given", "what was given is kept", "an old agreement is replaced"],
)
def test_the_command_typed_again(typed: str, chosen: dict[str, str], again: str) -> None:
    assert typed_again(shlex.split(typed), SIGNED, chosen) == f"pyinfra {again}"
