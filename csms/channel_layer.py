"""The channel layer of an installation without Redis: everything is one process, but not one thread."""

from __future__ import annotations

import asyncio
from typing import Any

from channels.layers import InMemoryChannelLayer


class ThreadSafeInMemoryChannelLayer(InMemoryChannelLayer):
    """InMemoryChannelLayer whose queues belong to the loop of the server.

    An asyncio.Queue that is filled from another thread does not wake who waits for it. So the loop that first joins a
    group owns the layer, and a send from any other loop (a request's thread, the embedded worker) hops to it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._owner: asyncio.AbstractEventLoop | None = None

    async def group_add(self, group: str, channel: str) -> None:
        self._owner = asyncio.get_running_loop()
        await super().group_add(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        owner = self._owner
        if owner is None or owner.is_closed() or owner is asyncio.get_running_loop():
            await super().group_send(group, message)
            return
        owner.call_soon_threadsafe(lambda: owner.create_task(self._deliver(group, message)))

    async def _deliver(self, group: str, message: dict[str, Any]) -> None:
        await super().group_send(group, message)
