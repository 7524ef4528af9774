"""The drill of the background jobs: their worker is killed amid them, again and again."""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import ExitStack

from csms.benchmark.processes import Process
from csms.drills.course import PATIENCE_SECONDS, Plan, Tell, play
from csms.drills.stage import SLUG, Result, Stage, stage

# So that what was lost comes back, or is given up, within seconds; one that runs is not given to another meanwhile.
SETTINGS = {"CSMS_JOB_REDELIVERY_SECONDS": "10", "CSMS_JOB_LOST_SECONDS": "30"}
JOBS_AT_A_TIME, STEPS = 4, 15


def jobs(plan: Plan, tell: Tell) -> Result:
    """Kill the worker (and beat) amid tracked jobs: every job must end, or have failed with a reason.

    Every second time Redis is emptied as well: nobody will ever deliver those jobs again.
    """
    result = Result("jobs")
    published: list[str] = []
    with (
        stage(plan.database, plan.stations, with_redis=True, settings=SETTINGS) as made,
        made.server() as server,
        ExitStack() as stack,
    ):
        workers = _Workers(made, stack)
        workers.start()
        chance = plan.chance()

        async def fault(number: int) -> str:
            order = {"slug": SLUG, "jobs": JOBS_AT_A_TIME, "steps": STEPS, "patience_seconds": PATIENCE_SECONDS}
            published.extend(await asyncio.to_thread(made.inside, "publish", order))
            return await asyncio.to_thread(workers.fall, number, chance)

        asyncio.run(play(result, plan, made, [server], fault, tell, jobs=published))
        result.figures["jobs"] = made.inside("ended", {"slug": SLUG, "tasks": published})
    return result


class _Workers:
    """One worker after the other."""

    def __init__(self, made: Stage, stack: ExitStack) -> None:
        self._made, self._stack = made, stack
        self._worker: Process | None = None

    def start(self) -> None:
        command = [
            sys.executable, "-m", "celery", "-A", "csms", "worker", "--include", "csms.drills.slow_jobs", "--beat",
            "--concurrency", "2", "--schedule", str(self._made.folder / "beat"), "--loglevel", "WARNING",
        ]  # fmt: skip
        process = Process(command, self._made.environment, self._made.folder / "worker.log")
        self._worker = self._stack.enter_context(process)

    def fall(self, number: int, chance: random.Random) -> str:
        if self._worker is not None:
            self._worker.kill()
        emptied = number % 2 == 1 and self._made.redis is not None
        if emptied and self._made.redis is not None:
            self._made.redis.flush()
        self.start()
        return "worker killed, Redis emptied" if emptied else "worker killed"
