"""A GitHub on one machine: its REST API, its pages and git over HTTP, read from a real bare repository."""

from sandbox.github.application import HUB, application

__all__ = ["HUB", "application"]
