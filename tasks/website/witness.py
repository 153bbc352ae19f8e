"""A second pair of eyes: the same look at a page from inside the platform, as a one-off's command.

A laptop whose own network fails sees every page fail. What a container of the application sees as well is
true.
"""

from __future__ import annotations

import json
import shlex
from typing import Final
from urllib.parse import urlencode

from tasks.website.checks import Admin, Check, Page, Search

BROKEN: Final = 41
"""The exit code with which the witness says that the page is not as declared; 0 says that it is."""

_LOGIN_FORM: Final = r"""type=["']?password"""

# With what every Python has; the application's own packages may be what is broken.
_SCRIPT: Final = f"""
import html, json, re, sys, urllib.error, urllib.request
url, status, pattern = json.loads(sys.argv[1])
try:
    reply = urllib.request.urlopen(url, timeout=20)
except urllib.error.HTTPError as error:
    reply = error
except OSError:
    sys.exit({BROKEN})
text = reply.read(5000000).decode("utf-8", "replace")
shown = not pattern or re.search(pattern, text) or re.search(pattern, html.unescape(text))
sys.exit(0 if reply.status == status and shown else {BROKEN})
"""


def command(base_url: str, check: Check) -> str | None:
    """The shell command that looks at a check's page; None for a check that a mere look is not.

    + base_url: the website's address as people know it
    """
    match check:
        case Page():
            query, status, pattern = "", check.status, check.pattern
        case Search():
            query, status, pattern = f"?{urlencode({check.parameter: check.term})}", 200, check.pattern
        case Admin():
            query, status, pattern = "", 200, _LOGIN_FORM
        case _:
            return None
    looked_for = json.dumps([base_url.rstrip("/") + check.path + query, status, pattern])
    return f"python -c {shlex.quote(_SCRIPT.strip())} {shlex.quote(looked_for)}"
