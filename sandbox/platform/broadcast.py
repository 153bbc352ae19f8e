"""One writer, any number of readers that come and go."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Subscription(Generic[Item]):
    """An endless asynchronous iterator over what was there before and what is published from now on.

    Registered from its creation, not from its first use, so nothing falls between; dropped with its last
    reference.
    """

    def __init__(self, before: Iterable[Item], wanted: Callable[[Item], bool]) -> None:
        self._queue: asyncio.Queue[Item] = asyncio.Queue()
        self._wanted = wanted
        for item in before:
            self.offer(item)

    def offer(self, item: Item) -> None:
        if self._wanted(item):
            self._queue.put_nowait(item)

    def __aiter__(self) -> Subscription[Item]:
        return self

    async def __anext__(self) -> Item:
        return await self._queue.get()


class Broadcast(Generic[Item]):
    """Publishes items to its present subscriptions."""

    def __init__(self) -> None:
        self._subscriptions: weakref.WeakSet[Subscription[Item]] = weakref.WeakSet()

    def publish(self, item: Item) -> None:
        for subscription in list(self._subscriptions):
            subscription.offer(item)

    def subscribe(
        self, before: Iterable[Item] = (), wanted: Callable[[Item], bool] = lambda _item: True
    ) -> Subscription[Item]:
        subscription = Subscription(before, wanted)
        self._subscriptions.add(subscription)
        return subscription
