"""The drill of the clock: it is set forward and back by an hour and by a day while charge points charge."""

from __future__ import annotations

import asyncio
import importlib.util
import sys

from csms.drills.course import Plan, Tell, play
from csms.drills.stage import Result, Skip, stage

HOUR, DAY = 3600, 24 * 3600
# From one to the next the clock jumps by at least an hour, in either direction.
ERRORS = (HOUR, 0, -HOUR, 0, DAY, -DAY, DAY, 0)
# For beat and the sweeps to see the other time.
STAY_SECONDS = 3.0


def clock(plan: Plan, tell: Tell) -> Result:
    """Set the clock of the server by an hour and by a day, forward and back; time-outs must go by the monotonic one.

    No connection may end for it: the charge points count their connects.
    """
    if importlib.util.find_spec("time_machine") is None:
        raise Skip("No time-machine: install requirements/dev.txt.")
    result = Result("clock")
    with stage(plan.database, plan.stations) as made:
        wrong_by = made.folder / "clock"
        wrong_by.write_text("0")
        command = [sys.executable, "-m", "csms.drills.jumping_server"]
        settings = {"CSMS_DRILL_CLOCK": str(wrong_by)}
        with made.server(command=command, settings=settings) as server:

            async def fault(number: int) -> str:
                seconds = ERRORS[number % len(ERRORS)]
                path = wrong_by.with_suffix(".new")
                path.write_text(str(seconds))
                path.replace(wrong_by)
                await asyncio.sleep(STAY_SECONDS)
                return f"{seconds / HOUR:+.0f} h" if seconds else "right again"

            asyncio.run(play(result, plan, made, [server], fault, tell, cut_chance=0.0))
    if result.figures["connects"] > plan.stations:
        result.violations.append(f"{result.figures['connects'] - plan.stations} connections ended")
    return result
