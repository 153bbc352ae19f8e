"""How the platform refuses; the HTTP API turns each into the documented status and body."""

from __future__ import annotations


class PlatformError(Exception):
    """Something that the platform refuses, in one sentence."""


class NotFound(PlatformError):
    """404: `resource` is app, deployment, operation, container, variable, ..."""

    def __init__(self, resource: str) -> None:
        super().__init__(f"{resource} not found")
        self.resource = resource


class Invalid(PlatformError):
    """422: `errors` maps a field to its messages."""

    def __init__(self, errors: dict[str, list[str]]) -> None:
        super().__init__("; ".join(f"{name}: {', '.join(texts)}" for name, texts in errors.items()))
        self.errors = errors


class BadRequest(PlatformError):
    """400."""


class Conflict(PlatformError):
    """409: something else is under way (status undocumented; the sandbox's choice)."""


class Forbidden(PlatformError):
    """403: a sandbox switch forbids writes."""
