"""The channel layer of an installation without Redis: everything is one process, but not one thread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from time import monotonic
from typing import Any

from channels.exceptions import ChannelFull
from channels.layers import InMemoryChannelLayer

CLEAN_SECONDS = 60.0
# A connection may last for years; Channels would forget it after a day.
GROUP_EXPIRY_SECONDS = 100 * 365 * 86_400


class ThreadSafeInMemoryChannelLayer(InMemoryChannelLayer):
    """InMemoryChannelLayer whose queues belong to the loop of the server.

    An asyncio.Queue that is filled from another thread does not wake who waits for it. So the loop that first joins a
    group owns the layer, and a send from any other loop (a request's thread, the embedded worker) hops to it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"group_expiry": GROUP_EXPIRY_SECONDS} | kwargs)
        self._owner: asyncio.AbstractEventLoop | None = None
        self._cleaned_at = monotonic()

    async def group_add(self, group: str, channel: str) -> None:
        self._owner = asyncio.get_running_loop()
        await super().group_add(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await self.group_send_to_all([group], message)

    async def group_send_to_all(self, groups: Iterable[str], message: dict[str, Any]) -> None:
        """Send `message` to each of `groups`."""
        names, owner = list(groups), self._owner
        if owner is None or owner.is_closed() or owner is asyncio.get_running_loop():
            await self._deliver(names, message)
        else:
            owner.call_soon_threadsafe(lambda: owner.create_task(self._deliver(names, message)))

    async def _deliver(self, groups: list[str], message: dict[str, Any]) -> None:
        for group in groups:
            for channel in list(self.groups.get(group, ())):
                # Whoever has a hundred messages waiting has enough to wake up for.
                with suppress(ChannelFull):
                    await self.send(channel, message)

    def _clean_expired(self) -> None:
        """As Channels does, but not with every message: it looks at each channel and each group there is."""
        if monotonic() - self._cleaned_at >= CLEAN_SECONDS:
            self._cleaned_at = monotonic()
            super()._clean_expired()
