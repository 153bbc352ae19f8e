"""The account behind the token: who it is, its SSH keys, the platform's regions."""

from __future__ import annotations

from tasks.scalingo.models import Key, Region, User
from tasks.scalingo.session import Service, Session, parse, parse_list


class Account:
    """Calls on the authentication service (developers.scalingo.com, "Users", "SSH keys", "Regions")."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def user(self) -> User:
        """Whose token this is."""
        reply = self._session.call(
            "GET", "/users/self", service=Service.AUTH, doing="Asking Scalingo whose token this is"
        )
        return parse(User, reply, "user")

    def keys(self) -> list[Key]:
        """The SSH public keys that may push and open tunnels."""
        reply = self._session.call(
            "GET", "/keys", service=Service.AUTH, doing="Listing the account's SSH keys"
        )
        return parse_list(Key, reply, "keys")

    def regions(self) -> list[Region]:
        """All regions, asked once per session."""
        return self._session.regions()

    def region(self) -> Region:
        """The region in use, with its SSH address."""
        return self._session.region()
