"""The pages that the API's `html_url`s lead to: releases, and a commit."""

from __future__ import annotations

from html import escape

from aiohttp import web

from sandbox.github.api import Hub

STYLE = "font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem"


def routes(hub: Hub) -> list[web.RouteDef]:
    """`/sandbox/demo`, its releases, one release, one commit."""

    async def releases(_request: web.Request) -> web.Response:
        return _page("Releases", "".join(_release(item) for item in await hub.published(drafts=False)))

    async def release(request: web.Request) -> web.Response:
        tag = request.match_info["tag"]
        found = [item for item in await hub.published(drafts=False) if item["tag_name"] == tag]
        if not found:
            raise web.HTTPNotFound
        return _page(f"Release {tag}", _release(found[0]))

    async def commit(request: web.Request) -> web.Response:
        sha = await hub.repository.resolve(request.match_info["sha"])
        if sha is None:
            raise web.HTTPNotFound
        found = await hub.repository.commit(sha)
        who = f"{escape(found.author.name)}, {found.author.date:%Y-%m-%d %H:%M}"
        return _page(f"Commit {sha[:8]}", f"<p>{who}</p><pre>{escape(found.message)}</pre>")

    here = "/{owner:sandbox}/{name:demo}"
    return [
        web.get("/", releases),
        web.get(here, releases),
        web.get(f"{here}/releases", releases),
        web.get(f"{here}/releases/tag/{{tag:.+}}", release),
        web.get(f"{here}/commit/{{sha}}", commit),
    ]


def _release(item: dict[str, object]) -> str:
    tag, url = escape(str(item["tag_name"])), escape(str(item["html_url"]))
    body = escape(str(item["body"]))
    return f'<h2><a href="{url}">{tag}</a></h2><p>{item["published_at"]}</p><pre>{body}</pre>'


def _page(title: str, content: str) -> web.Response:
    text = f"<!doctype html><meta charset=utf-8><title>{escape(title)}</title>"
    text += f'<body style="{STYLE}"><h1>sandbox/demo</h1>{content}</body>'
    return web.Response(text=text, content_type="text/html")
