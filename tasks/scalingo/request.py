"""A read of Scalingo's API as a pyinfra command, so that a fact is data like any other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pyinfra.api.command import StringCommand

from tasks.core.http import Parameter
from tasks.scalingo.session import Service

APP: Final = "{app}"
ADDON: Final = "{addon}"


class ApiRequest(StringCommand):
    """A GET that the connector sends with the host's credentials; the answer's body is its standard output.

    + path: below the service's version, with `{app}` for the host's application and `{addon}` for the id of
      its add-on
    + addon: the kind (`postgresql`) or id of the add-on meant
    """

    def __init__(
        self,
        path: str,
        *,
        service: Service = Service.REGIONAL,
        addon: str | None = None,
        params: Mapping[str, Parameter] | None = None,
    ) -> None:
        super().__init__("GET", path)
        self.path = path
        self.service = service
        self.addon = addon
        self.params = dict(params or {})
