"""The channel layer with Redis, and while Redis is away: connections are made and ended all the same."""

from __future__ import annotations

import asyncio
import logging

import pytest
from django.conf import settings
from redis.asyncio import Redis
from redis.exceptions import RedisError

from csms import redis_layer
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
    with pytest.raises(RedisError):
        await layer.group_send_to_all(["group", "other"], {"type": "ring"})
    await layer.flush()


@pytest.mark.redis
async def test_message_to_many_groups_is_heard_by_the_members_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_layer, "AT_A_TIME", 2)
    layer = ForgivingRedisChannelLayer(hosts=[settings.REDIS_URL], prefix="test")
    groups = [f"group.{number}" for number in range(5)]
    channels = []
    for group in groups:
        channels.append(await layer.new_channel())
        await layer.group_add(group, channels[-1])
    await layer.group_send_to_all([*groups, "nobody"], {"type": "ring"})
    heard = await asyncio.wait_for(asyncio.gather(*(layer.receive(channel) for channel in channels)), 10)
    assert heard == [{"type": "ring"}] * 5
    await layer.flush()


@pytest.mark.redis
async def test_first_message_after_connections_were_lost_is_sent_all_the_same() -> None:
    layer = ForgivingRedisChannelLayer(hosts=[settings.REDIS_URL], prefix="test")
    hearer = ForgivingRedisChannelLayer(hosts=[settings.REDIS_URL], prefix="test")
    channel = await hearer.new_channel()
    await hearer.group_add("group", channel)
    await layer.group_send_to_all(["group"], {"type": "first"})
    assert await asyncio.wait_for(hearer.receive(channel), 10) == {"type": "first"}
    shard = layer._get_layer()._get_shard("group")
    own = await shard._redis.client_id()
    async with Redis.from_url(settings.REDIS_URL) as other:
        await other.client_kill_filter(_id=str(own))
    await layer.group_send_to_all(["group"], {"type": "second"})
    assert await asyncio.wait_for(hearer.receive(channel), 10) == {"type": "second"}
    await layer.flush()
    await hearer.flush()
