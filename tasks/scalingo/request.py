"""A read of Scalingo's API as a pyinfra command, so that a fact is data like any other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from urllib.parse import quote

from pyinfra.api.command import StringCommand

from tasks.core.http import Parameter, Reply
from tasks.scalingo.models import Model
from tasks.scalingo.session import Service, parse, parse_list

if TYPE_CHECKING:
    from tasks.scalingo.client import Scalingo

M = TypeVar("M", bound=Model)

APP: Final = "{app}"
ADDON: Final = "{addon}"


@dataclass(frozen=True)
class Answer(Generic[M]):
    """What an answer holds: one object, or a list of them, wrapped in a key.

    The connector checks it, so that an undocumented answer fails the host in words; the fact reads it.
    """

    model: type[M]
    key: str
    many: bool = False

    def check(self, reply: Reply) -> None:
        """Raise OpsError where the answer is not as documented."""
        if self.many:
            parse_list(self.model, reply, self.key)
        else:
            parse(self.model, reply, self.key)

    def one(self, output: Sequence[str]) -> M:
        """The one object, from an answer that was checked."""
        return self.model.model_validate(self._member(output))

    def all(self, output: Sequence[str]) -> list[M]:
        """The list of objects, from an answer that was checked."""
        return [self.model.model_validate(item) for item in self._member(output) or []]

    def _member(self, output: Sequence[str]) -> Any:
        return json.loads("\n".join(output))[self.key]


class ApiRequest(StringCommand):
    """A GET that the connector sends with the host's credentials; the answer's body is its standard output.

    + path: below the service's version, with `{app}` for the host's application and `{addon}` for the id of
      its add-on
    + answer: what it must hold
    + addon: the kind (`postgresql`) or id of the add-on meant
    """

    def __init__(
        self,
        path: str,
        answer: Answer[Any],
        *,
        service: Service = Service.REGIONAL,
        addon: str | None = None,
        params: Mapping[str, Parameter] | None = None,
    ) -> None:
        super().__init__("GET", path)
        self.path = path
        self.answer = answer
        self.service = service
        self.addon = addon
        self.params = dict(params or {})

    def send(self, client: Scalingo, app: str) -> str:
        """The answer's text, once it is found to be as documented; raises this project's errors."""
        path = self.path.replace(APP, quote(app, safe=""))
        addon: tuple[str, str] | None = None
        if self.addon:
            found = client.addons.find(app, self.addon)
            path = path.replace(ADDON, quote(found.id, safe=""))
            addon = (app, found.id)
        reply = client.session.call(
            "GET", path, service=self.service, params=self.params, addon=addon, doing=f"Reading {app}"
        )
        self.answer.check(reply)
        return reply.text


class RegionRequest(ApiRequest):
    """The list of regions, of which only the one in use is given: four places may declare which it is."""

    def send(self, client: Scalingo, app: str) -> str:
        """The region in use, as the answer to a request for it would be."""
        return json.dumps({self.answer.key: client.account.region().model_dump()})
