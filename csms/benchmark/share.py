"""Hold processes to a share of the machine's processor time, by a control group of Linux (version 2 or 1).

Where one server process and the database fill the machine, a second process can gain nothing, and a measurement says
nothing of what they would do on a machine with more cores. Held to a part of a core each, they show it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from csms.benchmark.processes import BenchmarkError

ROOT = Path("/sys/fs/cgroup")
PERIOD_MICROSECONDS = 20_000
END_SECONDS = 10


class Group:
    """A control group in `folder`; whoever is taken in may use as many cores together as it has."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, pids: Sequence[int]) -> None:
        """Take in these processes with all their threads, and what they start from now on."""
        for pid in pids:
            (self._folder / "cgroup.procs").write_text(str(pid))


@contextmanager
def group(cores: float) -> Iterator[Group]:
    """A group that has `cores` of processor time a second; the block outlasts the processes. Raises BenchmarkError."""
    quota = round(PERIOD_MICROSECONDS * cores)
    version_2 = (ROOT / "cgroup.controllers").exists()
    folder = (ROOT if version_2 else ROOT / "cpu") / f"csms-benchmark-{os.getpid()}"
    try:
        if version_2:
            (ROOT / "cgroup.subtree_control").write_text("+cpu")
        folder.mkdir()
        if version_2:
            (folder / "cpu.max").write_text(f"{quota} {PERIOD_MICROSECONDS}")
        else:
            (folder / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
            (folder / "cpu.cfs_quota_us").write_text(str(quota))
    except OSError as error:
        raise BenchmarkError(
            f"--share needs Linux, root, and the processor controller of control groups: {error.strerror}"
        ) from error
    try:
        yield Group(folder)
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """The system lets a group go a moment after its last process."""
    deadline = time.monotonic() + END_SECONDS
    while True:
        try:
            folder.rmdir()
            return
        except OSError:
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)
