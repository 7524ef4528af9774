"""The channel layer of an installation with Redis, which may be away at any time."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Awaitable, Iterable
from typing import Any
from uuid import uuid4

from channels_redis.pubsub import RedisPubSubChannelLayer
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

AT_A_TIME = 500


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

    async def group_send_to_all(self, groups: Iterable[str], message: dict[str, Any]) -> None:
        """Send `message` to each of `groups`, many in one round trip."""
        layer, text = self._get_layer(), self.serialize(message)
        of_shards: dict[Any, list[str]] = defaultdict(list)
        for group in groups:
            channel = layer._get_group_channel_name(group)
            of_shards[layer._get_shard(channel)].append(channel)
        for shard, channels in of_shards.items():
            for begin in range(0, len(channels), AT_A_TIME):
                async with shard._lock:
                    try:
                        await self._publish(shard, channels[begin : begin + AT_A_TIME], text)
                    except RedisConnectionError:
                        # A connection of before Redis restarted says so only now. Ringing twice does no harm.
                        await self._publish(shard, channels[begin : begin + AT_A_TIME], text)

    @staticmethod
    async def _publish(shard: Any, channels: list[str], text: Any) -> None:
        shard._ensure_redis()
        pipeline = shard._redis.pipeline(transaction=False)
        for channel in channels:
            pipeline.publish(channel, text)
        await pipeline.execute()

    async def _if_possible(self, subscription: Awaitable[None]) -> None:
        try:
            await subscription
        except (RedisError, OSError) as error:
            logger.warning("No doorbell for a connection: Redis failed (%s).", type(error).__name__)
