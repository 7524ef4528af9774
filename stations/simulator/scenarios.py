"""What happens at a station: one coroutine for each kind of visit, told as a story of driver verbs.

A scenario is one round; the station repeats it after a pause. SCENARIOS, at the end, is the table of all of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ocpp.v16.enums import ChargePointErrorCode, ChargePointStatus, Reason

from .driver import Driver, obey_remote_start

FAULTS = (
    (ChargePointErrorCode.ground_failure, "Residual current"),
    (ChargePointErrorCode.over_current_failure, "L2 over 40 A"),
    (ChargePointErrorCode.power_meter_failure, "No reply from meter"),
    (ChargePointErrorCode.high_temperature, "Plug at 92 C"),
    (ChargePointErrorCode.ev_communication_error, "Pilot lost"),
)


async def plug_in_first(driver: Driver) -> None:
    await driver.arrive()
    await driver.plug_in()
    await driver.pause(3, 12)
    if await driver.authorize():
        await driver.start()
        reason = await driver.charge()
        await driver.stop(reason)
        await driver.pause(5, 60)
    await driver.unplug()


async def identify_first(driver: Driver) -> None:
    await driver.arrive()
    if not await driver.authorize():
        return
    await driver.pause(3, 20)
    await driver.plug_in()
    await driver.pause(1, 2)
    await driver.start()
    reason = await driver.charge()
    await driver.stop(reason)
    await driver.pause(5, 60)
    await driver.unplug()


async def remote_start(driver: Driver) -> None:
    await driver.arrive()
    driver.expect_remote_start()  # before Preparing is seen, or a quick operator would be refused
    await driver.plug_in()
    request = await driver.wait_for_remote_start()
    await obey_remote_start(driver, request)


async def cached_id(driver: Driver) -> None:
    await driver.arrive()
    await driver.plug_in()
    await driver.pause(1, 3)
    await driver.start()  # the token is in the station's cache from another day: no Authorize (LocalPreAuthorize)
    reason = await driver.charge()
    await driver.stop(reason)
    await driver.pause(5, 30)
    await driver.unplug()


async def ev_disconnect(driver: Driver) -> None:
    await driver.arrive()
    if not await driver.authorize():
        return
    await driver.plug_in()
    await driver.start()
    reason = await driver.charge(5, 15)
    if reason == Reason.local:
        reason = Reason.ev_disconnected
        await driver.suspend()
        if not driver.station.configuration.flag("StopTransactionOnEVSideDisconnect"):
            await driver.pause(30, 60)
            reason = Reason.local
    await driver.stop(reason)
    await driver.unplug()


async def connection_timeout(driver: Driver) -> None:
    await driver.arrive()
    if not await driver.authorize():
        return
    await driver.station.set_status(driver.connector, ChargePointStatus.preparing)
    await driver.pause(driver.station.configuration.number("ConnectionTimeOut"))
    await driver.unplug()  # nobody ever plugged in: back to Available


async def offline_replay(driver: Driver) -> None:
    await driver.arrive()
    await driver.plug_in()
    if await driver.authorize():
        await driver.start()
        await driver.charge(2, 5)
        await driver.go_offline()
        reason = await driver.charge(5, 15)
        await driver.stop(reason)
        await driver.pause(30, 90)
        await driver.go_online()
        await driver.station.transactions.queue.drained(driver.station.options.call_timeout_seconds)
    await driver.unplug()


async def power_loss(driver: Driver) -> None:
    await driver.arrive()
    await driver.plug_in()
    if await driver.authorize():
        await driver.start()
        await driver.charge(3, 10)
        await driver.lose_power()
        await driver.stop(Reason.power_loss)  # kept in the station's memory until it is back
        await driver.pause(20, 120)
        await driver.go_online()
    await driver.unplug()


async def faults(driver: Driver) -> None:
    lock_fails = driver.rng.random() < 0.5
    error_code, info = driver.rng.choice(FAULTS)
    await driver.arrive()
    if not await driver.authorize():
        return
    await driver.plug_in()
    if lock_fails:
        await driver.fail(ChargePointErrorCode.connector_lock_failure, "Plug not locked")
    else:
        await driver.start()
        await driver.charge(2, 8)
        await driver.fail(error_code, info)
    await driver.pause(60, 180)
    await driver.recover()
    await driver.pause(5, 20)
    await driver.unplug()


async def idle(driver: Driver) -> None:
    await driver.pause(600, 1800)


async def unknown_tag(driver: Driver) -> None:
    await driver.arrive()
    await driver.plug_in()
    if await driver.authorize(f"NOBODY-{driver.rng.randrange(10**8):08d}"):
        driver.station.statistics.problem(f"{driver.station.id}: an idTag nobody knows was accepted")
    await driver.pause(3, 10)
    await driver.unplug()


async def repeat(driver: Driver) -> None:
    await driver.arrive()
    await driver.plug_in()
    if await driver.authorize():
        await driver.start(lose_answers=2)
        reason = await driver.charge(3, 10)
        await driver.stop(reason)
    await driver.unplug()


async def mixed(driver: Driver) -> None:
    name = driver.rng.choices(list(MIXTURE), weights=list(MIXTURE.values()))[0]
    await SCENARIOS[name].play(driver)


@dataclass(frozen=True)
class Scenario:
    """A line of the table: the coroutine and what it shows."""

    play: Callable[[Driver], Awaitable[None]]
    description: str


SCENARIOS: dict[str, Scenario] = {
    "plug-in-first": Scenario(plug_in_first, "cable, card, charge, stop"),
    "identify-first": Scenario(identify_first, "card, cable, charge, stop"),
    "remote-start": Scenario(remote_start, "cable in, then waits for RemoteStartTransaction"),
    "cached-id": Scenario(cached_id, "StartTransaction without Authorize"),
    "ev-disconnect": Scenario(ev_disconnect, "the cable is pulled at the car: reason EVDisconnected"),
    "connection-timeout": Scenario(connection_timeout, "card, but no cable within ConnectionTimeOut"),
    "offline-replay": Scenario(
        offline_replay, "line lost while charging; samples and stop delivered later, with true times"
    ),
    "power-loss": Scenario(power_loss, "dark while charging; boot, then stop with reason PowerLoss"),
    "faults": Scenario(faults, "connector Faulted with an error code, then recovers"),
    "idle": Scenario(idle, "nothing but heartbeats"),
    "unknown-tag": Scenario(unknown_tag, "a card nobody knows; must be refused"),
    "repeat": Scenario(
        repeat, "StartTransaction repeated because its answer got lost; must get the same transactionId"
    ),
    "mixed": Scenario(mixed, "all of these but remote-start and idle, by chance, mostly the ordinary ones"),
}

MIXTURE: dict[str, int] = {
    "plug-in-first": 34,
    "identify-first": 26,
    "cached-id": 12,
    "ev-disconnect": 8,
    "connection-timeout": 3,
    "offline-replay": 5,
    "power-loss": 3,
    "faults": 3,
    "unknown-tag": 3,
    "repeat": 3,
}
