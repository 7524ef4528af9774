"""`python -m csms.drills.jumping_server serve …`: the product server with a clock that a drill sets.

The product has no such switch: the clock is moved beneath Python's own functions (time-machine), as `date --set` would
beneath all of them. Monotonic clocks go on. The file CSMS_DRILL_CLOCK holds by how many seconds it is wrong.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import time_machine
from django.core.management import execute_from_command_line

LOOK_SECONDS = 0.05


def follow(path: Path) -> None:
    """Set the clock whenever the file says something else; never returns."""
    true_offset = time.time() - time.monotonic()
    known, travel = 0.0, None
    while True:
        time.sleep(LOOK_SECONDS)
        try:
            wanted = float(path.read_text())
        except (OSError, ValueError):
            continue
        if wanted == known:
            continue
        known = wanted
        if travel is not None:
            travel.stop()
        travel = time_machine.travel(true_offset + time.monotonic() + wanted, tick=True)
        travel.start()


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "csms.settings")
    threading.Thread(target=follow, args=(Path(os.environ["CSMS_DRILL_CLOCK"]),), daemon=True).start()
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
