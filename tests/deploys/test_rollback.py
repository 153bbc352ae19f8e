"""The rollback as a person types it, against the live sandbox."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

Operator = Any


def test_code_and_data_go_back_are_verified_and_undone(protected: Operator, preprod: Operator) -> None:
    for operator in (preprod, protected):
        operator.bring("v1.0.0")
        operator.backup()
        operator.write(2)
        operator.deploy("v1.1.0")
        assert set(operator.pages().values()) == {500}
    good, bad = protected.commit("v1.0.0"), protected.commit("v1.1.0")
    lost = protected.suggestions()

    refused = protected.run("rollback", tag="v1.0.0", backup="latest")
    assert refused.code == 3
    assert "rehearsal" in refused.text
    assert protected.release() == bad

    assert preprod.run("rollback", tag="v1.0.0", backup="latest").code == 0

    staged = protected.run("rollback", tag="v1.0.0", backup="latest", reason="pages en erreur 500")
    assert staged.code == 3, staged.text
    assert "suggestions_suggestion" in staged.text
    assert protected.release() == bad
    assert len(protected.schemas("new")) == 1

    assert "send Christian, the data administrator, the list above and the files in /" in staged.text
    csv = Path(re.findall(r"/\S+/suggestions_suggestion\.csv", staged.text)[0])
    assert len(csv.read_text().splitlines()) > 1, "the names of its columns, and rows"

    done = protected.type(staged.told_to_type)
    assert done.code == 0, done.text
    assert protected.release() == good
    assert set(protected.pages().values()) == {200}
    assert protected.schemas("new") == []
    assert protected.sessions() == 0

    again = protected.run("rollback", tag="v1.0.0", backup="latest")
    assert again.code == 0
    assert "deploys/undo.py" in again.text
    assert "Nothing to change." in again.text

    waiting = protected.run("undo")
    assert waiting.code == 3, waiting.text
    undone = protected.type(waiting.told_to_type)
    assert undone.code == 0, undone.text
    assert protected.release() == bad
    assert protected.suggestions() == lost

    messages = "\n".join(message["message"] for message in protected.control.messages())
    assert "Retour arrière de `sandbox-demo` (sandbox) : début" in messages
    assert "Retour arrière de `sandbox-demo` (sandbox) : réussi" in messages
    assert "Annulation" in messages
    assert "Accord à demander à Christian." in messages
    assert f"```\n{staged.told_to_type}\n```" in messages


@pytest.mark.parametrize("deploy", ["rollback", "restore", "undo", "forget", "verify", "bring_back"])
def test_dry_writes_nothing(preprod: Operator, deploy: str) -> None:
    inputs = {"tag": "v1.0.0", "backup": "latest", "set_aside": "before_x"}
    if deploy in ("undo", "bring_back"):
        inputs = {}
    with preprod.control.no_writes() as violations:
        preprod.run(deploy, "--dry", "--diff", yes=False, **inputs)
    assert violations == []


def test_missing_inputs_are_listed_where_nobody_can_be_asked(preprod: Operator) -> None:
    preprod.deploy("v1.0.1")  # whatever an earlier rollback confirmed is not how things are now
    found = preprod.run("rollback")
    assert found.code == 3
    for word in ("v1.0.0", "v1.1.0", "--data tag=TAG"):
        assert word in found.text


def test_without_terminal_and_without_yes_it_says_so(preprod: Operator) -> None:
    found = preprod.run("rollback", yes=False, tag="v1.0.0", backup="latest")
    assert found.code == 3
    assert "add -y" in found.text


def test_unknown_tag_is_refused_with_what_comes_near(preprod: Operator) -> None:
    found = preprod.run("rollback", tag="v1.0.9", backup="latest")
    assert found.code == 3
    assert "v1.0.0" in found.text
