"""The channel layer of an installation with Redis, which may be away at any time."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from uuid import uuid4

from channels_redis.pubsub import RedisPubSubChannelLayer
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)


class ForgivingRedisChannelLayer(RedisPubSubChannelLayer):
    """RedisPubSubChannelLayer for those who can do without it: a charge point must be let in while Redis is away.

    Whoever could not be subscribed hears no doorbell on this connection; what was queued for it is found by the look
    that every process takes every few seconds. Sending still fails aloud: the sender says so in the log.
    """

    async def new_channel(self, prefix: str = "specific.") -> str:
        layer = self._get_layer()
        channel = f"{layer.prefix}{prefix}{uuid4().hex}"
        await self._if_possible(layer._subscribe_to_channel(channel))
        return channel

    async def group_add(self, group: str, channel: str) -> None:
        await self._if_possible(self._get_layer().group_add(group, channel))

    async def group_discard(self, group: str, channel: str) -> None:
        await self._if_possible(self._get_layer().group_discard(group, channel))

    async def _if_possible(self, subscription: Awaitable[None]) -> None:
        try:
            await subscription
        except (RedisError, OSError) as error:
            logger.warning("No doorbell for a connection: Redis failed (%s).", type(error).__name__)
