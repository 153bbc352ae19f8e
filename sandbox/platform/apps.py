"""Rules for apps and their variables, as documented."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sandbox.platform import runtime
from sandbox.platform.errors import Invalid, NotFound
from sandbox.platform.model import App, State, Variable, new_object_id, now

LONGEST_VARIABLE_NAME = 64
LONGEST_VARIABLE_VALUE = 32768


def check_name(state: State, name: str, field: str = "name") -> None:
    """Raises Invalid for a name that isn't allowed or is taken."""
    problems = []
    if not 6 <= len(name) <= 48:
        problems.append("must be between 6 and 48 characters")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        problems.append("should only contain lowercase letters, digits and single hyphens in between")
    if any(app.name == name for app in state.apps.values()):
        problems.append("is already taken")
    if problems:
        raise Invalid({field: problems})


def find(state: State, name_or_id: str) -> App:
    """Raises NotFound("app")."""
    for app in state.apps.values():
        if name_or_id in (app.id, app.name):
            return app
    raise NotFound("app")


def variables(app: App, aliases: bool) -> list[Variable]:
    """By name; with `aliases` false, `$OTHER` is replaced by OTHER's value."""
    listed = sorted(app.variables.values(), key=lambda variable: variable.name)
    if aliases:
        return listed
    values = runtime.resolved({variable.name: variable.value for variable in listed})
    return [Variable(variable.id, variable.name, values[variable.name]) for variable in listed]


def set_variables(app: App, values: Mapping[str, str]) -> list[Variable]:
    """Add or change; others stay. Raises Invalid, and then sets none."""
    errors: dict[str, list[str]] = {}
    for name, value in values.items():
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
            errors.setdefault("name", []).append(
                "must start with a letter and contain only letters, digits and underscores"
            )
        elif len(name) > LONGEST_VARIABLE_NAME:
            errors.setdefault("name", []).append(f"is longer than {LONGEST_VARIABLE_NAME} characters")
        if not value.strip():
            errors.setdefault("value", []).append("can't be blank")
        elif len(value) > LONGEST_VARIABLE_VALUE:
            errors.setdefault("value", []).append(f"is longer than {LONGEST_VARIABLE_VALUE} characters")
    if errors:
        raise Invalid(errors)
    for name, value in values.items():
        if name in app.variables:
            app.variables[name].value = value
        else:
            app.variables[name] = Variable(new_object_id(), name, value)
    app.updated_at = now()
    return [app.variables[name] for name in values]


def unset_variable(app: App, variable_id: str) -> None:
    """Raises NotFound("variable")."""
    for name, variable in app.variables.items():
        if variable.id == variable_id:
            del app.variables[name]
            app.updated_at = now()
            return
    raise NotFound("variable")
