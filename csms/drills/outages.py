"""Drills that take a part away beneath running servers: PostgreSQL in immediate mode; Redis, killed or emptied."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack

from csms.benchmark.processes import Server
from csms.drills.course import Fault, Plan, Tell, play
from csms.drills.stage import Result, Skip, Stage, stage

REDIS_FAULTS = ("killed", "emptied", "hung")


def postgresql(plan: Plan, tell: Tell) -> Result:
    """Kill PostgreSQL in immediate mode (no checkpoint, connections cut) under load and start it again.

    Whatever was acknowledged before must be there after the recovery, and everybody must be served again by the same
    server process.
    """
    result = Result("postgresql")
    with stage("postgresql", plan.stations) as made, made.server() as server:
        postgres = made.database.server
        if postgres is None:
            raise Skip("CSMS_TEST_DATABASE_URL names a server that is not ours to kill.")
        chance = plan.chance()

        async def fault(number: int) -> str:
            await asyncio.to_thread(postgres.kill)
            await asyncio.sleep(chance.uniform(0, plan.outage_seconds))
            await asyncio.to_thread(postgres.start)
            return "killed"

        asyncio.run(play(result, plan, made, [server], fault, tell))
        _still_the_same(result, [server.running])
    return result


def redis(plan: Plan, tell: Tell) -> Result:
    """Kill, empty or freeze Redis beneath two server processes while commands are posted to both.

    Charging and posting must go on meanwhile, also for those who lose their line and come back; the commands must
    arrive, wherever the charge point is connected.
    """
    result = Result("redis")
    with stage(plan.database, plan.stations, with_redis=True) as made, ExitStack() as stack:
        servers = [stack.enter_context(made.server(log=f"server-{number}.log")) for number in (1, 2)]
        asyncio.run(_beneath_two(result, plan, made, servers, tell))
        _still_the_same(result, [server.running for server in servers])
    return result


async def _beneath_two(result: Result, plan: Plan, made: Stage, servers: Sequence[Server], tell: Tell) -> None:
    fault = _redis_fault(plan, made)
    await play(result, plan, made, servers, fault, tell, commands_per_second=10.0, cut_chance=0.05)


def _redis_fault(plan: Plan, made: Stage) -> Fault:
    broker = made.redis
    if broker is None:
        raise Skip("There is no Redis.")
    chance = plan.chance()

    async def fault(number: int) -> str:
        kind = REDIS_FAULTS[number % len(REDIS_FAULTS)]
        if kind == "emptied":
            await asyncio.to_thread(broker.flush)
        elif kind == "hung":
            broker.freeze()
            await asyncio.sleep(chance.uniform(0, plan.outage_seconds))
            broker.thaw()
        else:
            await asyncio.to_thread(broker.kill)
            await asyncio.sleep(chance.uniform(0, plan.outage_seconds))
            await asyncio.to_thread(broker.start)
        return kind

    return fault


def _still_the_same(result: Result, running: list[bool]) -> None:
    if not all(running):
        result.violations.append("a server process ended")
