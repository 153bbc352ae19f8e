"""The platform's DATABASE_URL as Django's settings."""

import os
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

SCHEMES = ("postgres", "postgresql")


def from_url(url: str) -> dict:
    """Settings of one connection; an empty URL (during the build) gives none."""
    if not url:
        return {}
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ImproperlyConfigured(f"DATABASE_URL begins with {parts.scheme!r}, not with one of {SCHEMES}")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": 0,
        "OPTIONS": {
            "connect_timeout": 5,
            "application_name": os.environ.get("CONTAINER", "carte"),
            **dict(parse_qsl(parts.query)),
        },
    }
