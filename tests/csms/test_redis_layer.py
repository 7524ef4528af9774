"""The channel layer while Redis is away: connections are made and ended all the same (csms/redis_layer.py)."""

from __future__ import annotations

import logging

import pytest
from redis.exceptions import RedisError

from csms.redis_layer import ForgivingRedisChannelLayer
from tests.servers import LOOPBACK, free_port


async def test_who_connects_while_redis_is_away_is_let_in_and_the_sender_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    layer = ForgivingRedisChannelLayer(hosts=[f"redis://{LOOPBACK}:{free_port()}"], prefix="test")
    with caplog.at_level(logging.WARNING):
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        await layer.group_discard("group", channel)
    assert channel.startswith("testspecific.")
    # Nothing was subscribed, so there is nothing to end.
    assert caplog.text.count("Redis failed (ConnectionError)") == 2
    with pytest.raises(RedisError):
        await layer.group_send("group", {"type": "ring"})
    await layer.flush()
