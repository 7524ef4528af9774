"""The channel layer of one process: whoever is in a group hears what is sent to many groups, from any thread."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from csms.channel_layer import ThreadSafeInMemoryChannelLayer

RING = {"type": "ring"}


async def members(layer: ThreadSafeInMemoryChannelLayer, *groups: str) -> list[str]:
    channels = []
    for group in groups:
        channel = await layer.new_channel()
        await layer.group_add(group, channel)
        channels.append(channel)
    return channels


async def heard(layer: ThreadSafeInMemoryChannelLayer, channels: list[str]) -> list[Any]:
    return await asyncio.wait_for(asyncio.gather(*(layer.receive(channel) for channel in channels)), 10)


async def test_message_to_many_groups_is_heard_by_the_members_of_each() -> None:
    layer = ThreadSafeInMemoryChannelLayer()
    channels = await members(layer, "a", "a", "b", "other")
    await layer.group_send_to_all(["a", "nobody", "b"], RING)
    assert await heard(layer, channels[:3]) == [RING] * 3
    assert channels[3] not in layer.channels


@pytest.mark.parametrize("to_all", [True, False])
async def test_message_from_another_thread_wakes_the_members(to_all: bool) -> None:
    layer = ThreadSafeInMemoryChannelLayer()
    channels = await members(layer, "a", "b")
    listening = asyncio.create_task(heard(layer, channels))
    await asyncio.sleep(0)

    async def send() -> None:
        if to_all:
            await layer.group_send_to_all(["a", "b"], RING)
        else:
            await layer.group_send("a", RING)
            await layer.group_send("b", RING)

    await asyncio.to_thread(asyncio.run, send())
    assert await listening == [RING] * 2


async def test_member_that_does_not_listen_keeps_nobody_from_hearing() -> None:
    layer = ThreadSafeInMemoryChannelLayer(capacity=1)
    deaf, listening = await members(layer, "a", "b")
    await layer.group_send("a", RING)
    await layer.group_send_to_all(["a", "b"], RING)
    assert (await heard(layer, [listening]), layer.channels[deaf].qsize()) == ([RING], 1)


async def test_a_message_does_not_look_at_every_group_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    monkeypatch.setattr(InMemoryChannelLayer, "_clean_expired", lambda self: looked.append(1))
    layer = ThreadSafeInMemoryChannelLayer()
    (channel,) = await members(layer, "a")
    await layer.group_send_to_all(["a", "a"], RING)
    assert await heard(layer, [channel]) == [RING]
    assert looked == []


async def test_connection_that_lasts_for_days_still_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = ThreadSafeInMemoryChannelLayer()
    (channel,) = await members(layer, "a")
    layer.groups["a"][channel] -= 30 * 86_400
    layer._cleaned_at -= 3600
    layer._clean_expired()
    await layer.group_send("a", RING)
    assert await heard(layer, [channel]) == [RING]
