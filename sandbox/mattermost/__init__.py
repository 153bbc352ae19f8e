"""A Mattermost on one machine: the incoming webhook, and a page that shows what it received."""

from sandbox.mattermost.application import TEAM, application

__all__ = ["TEAM", "application"]
