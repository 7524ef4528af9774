"""`python -m tests.both_lanes`: the suite in both lanes at the same time, their outputs one after the other.

Context: half of its time a lane waits, for sockets, for databases, for other processes; lanes one after the other leave
much of the machine unused. Choice: both run at once; what SQLite's says is seen at once, what PostgreSQL's says when
both have ended. Consequence: a test may find the machine busy; it waits for conditions, with generous limits.

Arguments go to pytest. CSMS_TEST_LANE_MINUTES (40) is how long a lane may take. Exit status: of the first lane that
failed; 124 when one was ended for its time, 130 after Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import IO

LANES = ("sqlite", "postgres")
TIMED_OUT, INTERRUPTED = 124, 130
# For pytest to show what hung and to end its servers.
GRACE_SECONDS = 60


def start(lane: str, arguments: list[str], output: IO[bytes] | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pytest", "-o", f"cache_dir=.pytest_cache/{lane}", *arguments]
    if sys.stdout.isatty():
        command.insert(3, "--color=yes")
    return subprocess.Popen(
        command, env=os.environ | {"CSMS_TEST_LANE": lane}, stdin=subprocess.DEVNULL, stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        # Of a session of its own: Ctrl-C reaches it once, from `end`; a second one would keep it from tidying up.
        start_new_session=True,
    )  # fmt: skip


def end(runs: dict[str, subprocess.Popen[bytes]]) -> None:
    """Ctrl-C to what still runs; SIGKILL to what does not heed it."""
    for run in runs.values():
        if run.poll() is None:
            run.send_signal(signal.SIGINT)
    deadline = time.monotonic() + GRACE_SECONDS
    for run in runs.values():
        try:
            run.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()


def status_of(runs: dict[str, subprocess.Popen[bytes]], seconds: float) -> int:
    """Wait for the end of all, at most that long."""
    deadline = time.monotonic() + seconds
    try:
        for run in runs.values():
            run.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        late = [lane for lane, run in runs.items() if run.poll() is None]
        end(runs)
        sys.stderr.write(f"ended after {seconds / 60:.0f} minutes: {', '.join(late)}\n")
        return TIMED_OUT
    except KeyboardInterrupt:
        end(runs)
        return INTERRUPTED
    return next((run.returncode for run in runs.values() if run.returncode), 0)


def main(arguments: list[str]) -> int:
    """Run both lanes; the exit status."""
    seconds = float(os.environ.get("CSMS_TEST_LANE_MINUTES", "40")) * 60
    with tempfile.TemporaryFile() as kept:
        runs = {lane: start(lane, arguments, None if lane == LANES[0] else kept) for lane in LANES}
        try:
            return status_of(runs, seconds)
        finally:
            kept.seek(0)
            sys.stdout.flush()
            for line in kept:
                sys.stdout.buffer.write(line)
            sys.stdout.flush()


if __name__ == "__main__":
    # SIGTERM as Ctrl-C, so that nothing is left running; and whoever runs us in the background has SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
