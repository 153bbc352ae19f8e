"""The page that shows the channel: messages as people read them, everything in them escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from html import escape
from typing import Final

from sandbox.mattermost.posts import Post

TEMPLATE: Final = """<!doctype html>
<html lang="fr">
<head>
<meta charset="utf-8"><meta http-equiv="refresh" content="3"><title>Mattermost (sandbox)</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }}
article {{ border-top: 1px solid #ddd; padding: .5rem 0; }}
small {{ color: #666; }}
.text {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
.attachment {{ border-left: 4px solid #999; padding-left: .75rem; margin: .5rem 0; }}
code, pre {{ background: #f4f4f5; padding: 0 .25rem; }}
</style>
</head>
<body><h1>{title}</h1>{messages}</body>
</html>
"""


def render(posts: Iterable[Post], title: str) -> str:
    """The whole page, newest message last."""
    messages = "".join(_post(post) for post in posts) or "<p>Aucun message.</p>"
    return TEMPLATE.format(title=escape(title), messages=messages)


def markdown(text: str) -> str:
    """The few forms of Markdown that notices use; anything else stays as it was written."""
    pieces = re.split(r"```[^\n]*\n(.*?)```", text, flags=re.DOTALL)
    return "".join(
        f"<pre>{escape(piece)}</pre>" if at % 2 else _inline(escape(piece)) for at, piece in enumerate(pieces)
    )


def _inline(text: str) -> str:
    parts = re.split(r"`([^`\n]+)`", text)
    for at, part in enumerate(parts):
        if at % 2:
            parts[at] = f"<code>{part}</code>"
        else:
            part = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", part)
            part = re.sub(r"(?m)^#{1,6} (.+)$", r"<strong>\1</strong>", part)
            parts[at] = re.sub(r"\[([^\]\n]+)\]\((https?://[^)\s]+)\)", r'<a href="\2">\1</a>', part)
    return "".join(parts)


def _post(post: Post) -> str:
    when = datetime.fromtimestamp(post.create_at / 1000).astimezone()
    urgency = f" · {escape(str(post.priority.get('priority')))}" if post.priority else ""
    head = f"<small>{escape(post.channel)} · {when:%H:%M:%S}{urgency}</small>"
    attachments = "".join(
        '<div class="attachment">'
        + "".join(
            f'<div class="text">{markdown(str(attachment[name]))}</div>'
            for name in ("pretext", "title", "text")
            if attachment.get(name)
        )
        + "</div>"
        for attachment in post.attachments
        if isinstance(attachment, dict)
    )
    return (
        f"<article><strong>{escape(post.username)}</strong> {head}"
        f'<div class="text">{markdown(post.message)}</div>{attachments}</article>'
    )
