"""Independent reads side by side, so that a plan waits for the slowest and not for the sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent


def side_by_side(*actions: Callable[[], Any]) -> list[Any]:
    """The results of all actions, in order, once all have ended.

    Under pyinfra, whose sockets are gevent's, they run at a time; elsewhere one after the other. Raises the
    first action's error, in order, never leaving another at work.
    """
    greenlets = [gevent.spawn(_caught, action) for action in actions]
    gevent.joinall(greenlets)
    results = [greenlet.get() for greenlet in greenlets]
    for result in results:
        if isinstance(result, _Failure):
            raise result.error
    return results


class _Failure:
    """An error as a value: raised inside a greenlet it would print a traceback."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _caught(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except Exception as error:
        return _Failure(error)
