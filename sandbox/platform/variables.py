"""Rules for an app's variables, as documented."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sandbox.platform import runtime
from sandbox.platform.errors import Invalid, NotFound
from sandbox.platform.model import App, Variable, new_object_id, now

LONGEST_NAME = 64
LONGEST_VALUE = 32768


def listed(app: App, aliases: bool) -> list[Variable]:
    """By name; with `aliases` false, `$OTHER` is replaced by OTHER's value."""
    found = sorted(app.variables.values(), key=lambda variable: variable.name)
    if aliases:
        return found
    values = runtime.resolved({variable.name: variable.value for variable in found})
    return [Variable(variable.id, variable.name, values[variable.name]) for variable in found]


def put(app: App, values: Mapping[str, str]) -> list[Variable]:
    """Add or change; others stay. Raises Invalid, and then sets none."""
    errors: dict[str, list[str]] = {}
    for name, value in values.items():
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
            errors.setdefault("name", []).append(
                "must start with a letter and contain only letters, digits and underscores"
            )
        elif len(name) > LONGEST_NAME:
            errors.setdefault("name", []).append(f"is longer than {LONGEST_NAME} characters")
        if not value.strip():
            errors.setdefault("value", []).append("can't be blank")
        elif len(value) > LONGEST_VALUE:
            errors.setdefault("value", []).append(f"is longer than {LONGEST_VALUE} characters")
    if errors:
        raise Invalid(errors)
    for name, value in values.items():
        if name in app.variables:
            app.variables[name].value = value
        else:
            app.variables[name] = Variable(new_object_id(), name, value)
    app.updated_at = now()
    return [app.variables[name] for name in values]


def unset(app: App, variable_id: str) -> None:
    """Raises NotFound("variable")."""
    for name, variable in app.variables.items():
        if variable.id == variable_id:
            del app.variables[name]
            app.updated_at = now()
            return
    raise NotFound("variable")
