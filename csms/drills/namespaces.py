"""A network of a drill's own on this machine, whose cable can be pulled: a namespace with one link into it. Needs root.

Nothing leaves the machine: the link has two ends, both made here and removed with the namespace.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from csms.drills.stage import Skip

CLONE_NEWNET = 0x40000000


class Namespace:
    """`address` is where servers of this machine are found from inside; `socket` makes one that lives inside."""

    def __init__(self, number: int) -> None:
        self.name = f"csms-drill-{number}"
        self._outer, self._inner = f"cd{number}o", f"cd{number}i"
        # A network of four addresses out of 10.231.0.0/16.
        self._net = f"10.231.{number // 64 % 256}.{number % 64 * 4}"
        self.address = self._host(1)

    def _host(self, number: int) -> str:
        start, _, last = self._net.rpartition(".")
        return f"{start}.{int(last) + number}"

    def make(self) -> None:
        """Raises Skip where that is not allowed."""
        for arguments in (
            ["netns", "add", self.name],
            ["link", "add", self._outer, "type", "veth", "peer", "name", self._inner, "netns", self.name],
            ["address", "add", f"{self.address}/30", "dev", self._outer],
            ["link", "set", self._outer, "up"],
            ["-n", self.name, "address", "add", f"{self._host(2)}/30", "dev", self._inner],
        ):
            done = _ip(*arguments)
            if done.returncode:
                raise Skip(f"No network namespace can be made here: {done.stderr.strip()}")
        self.plug()

    def plug(self) -> None:
        _ip("-n", self.name, "link", "set", self._inner, "up")

    def pull(self) -> None:
        """Pull the cable: from now on packets to the inside vanish without a word."""
        _ip("-n", self.name, "link", "set", self._inner, "down")

    def remove(self) -> None:
        _ip("netns", "delete", self.name)

    def socket(self) -> socket.socket:
        """A TCP socket that lives inside, whoever uses it."""
        made: list[socket.socket] = []

        def make() -> None:
            # A thread is moved, and ends there.
            with Path(f"/run/netns/{self.name}").open() as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                    return
            made.append(socket.socket())

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if not made:
            raise Skip("A network namespace cannot be entered here.")
        return made[0]


def _ip(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)  # noqa: S603, S607


@contextmanager
def namespace() -> Iterator[Namespace]:
    """A namespace with its link up, removed afterwards. Raises Skip."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None:
        raise Skip("Network namespaces need Linux, root, and the program ip.")
    made = Namespace(os.getpid() % 16384)
    try:
        made.make()
        yield made
    finally:
        made.remove()
