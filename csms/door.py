"""The door of a server process: connections that have not said yet what they want, and what is left for those who have.

Context: whoever connects and says nothing costs a file descriptor, and a thousand of them keep every charge point out.
Choice: connections without a complete head (TLS handshakes that never end, heads that drip, idle keep-alive) are at
most a share of the descriptors, in all and of one address. Beyond it the one that has been silent for longest makes
room, of the address that has most of them: who comes to charge sends its head at once. Addresses that a charge point
was let in from, and trusted proxies, come last in this; when descriptors run short only they are still taken. The very
last are the process's own, for the database and files. Consequence: nobody is refused for being one of many, and a
flood pushes out itself first.
"""

from __future__ import annotations

import itertools
import resource
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings

from csms.proxies import address_group, is_trusted
from stations import doorkeeper

# The process's own descriptors: database connections, files, Redis, the event loop.
OWN = 64
# Whatever the settings say, so many may be on their way in.
AT_LEAST = 8


def descriptors() -> int:
    """How many file descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_048_576 if soft == resource.RLIM_INFINITY else soft


def raise_limit() -> None:
    """Take as many descriptors as the process may: each charge point needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            # Some systems have a limit below the one they name.
            return


@dataclass(eq=False, slots=True)
class Guest:
    """A connection that has not said what it wants; `send_away` ends it."""

    group: str
    known: bool
    send_away: Callable[[], None]


class Door:
    """The unfinished connections of one event loop."""

    def __init__(self) -> None:
        # Of each address, oldest first; the addresses of strangers by how many they have; and those who are known.
        self._guests: dict[str, OrderedDict[Guest, None]] = {}
        self._by_size: dict[int, OrderedDict[str, None]] = {}
        self._largest = 0
        self._known: OrderedDict[Guest, None] = OrderedDict()
        self._count = 0
        self._proxied = itertools.count()

    def __len__(self) -> int:
        return self._count

    def enter(self, address: str, send_away: Callable[[], None]) -> Guest:
        """Count a connection from `address`; where that is one too many, one of them has to go."""
        proxied = is_trusted(address)
        known = proxied or doorkeeper.of_this_loop().knows(address)
        # A proxy speaks for many, each of them on its own.
        group = f"{address}/{next(self._proxied)}" if proxied else f"{address_group(address)}/{known}"
        limit = descriptors()
        if len(self._guests.get(group, ())) >= max(AT_LEAST, limit * settings.CSMS_UNFINISHED_OF_ONE_PERCENT // 100):
            self._send_away(next(iter(self._guests[group])))
        elif self._count >= max(AT_LEAST, limit * settings.CSMS_UNFINISHED_PERCENT // 100):
            self.make_room()
        guest = Guest(group, known, send_away)
        of_one = self._guests.setdefault(group, OrderedDict())
        of_one[guest] = None
        self._count += 1
        if known:
            self._known[guest] = None
        else:
            self._sort(group, len(of_one) - 1, len(of_one))
        return guest

    def leave(self, guest: Guest) -> None:
        """It has said what it wants, or has gone; harmless when repeated."""
        of_one = self._guests.get(guest.group)
        if of_one is None or guest not in of_one:
            return
        del of_one[guest]
        self._count -= 1
        if guest.known:
            del self._known[guest]
        else:
            self._sort(guest.group, len(of_one) + 1, len(of_one))
        if not of_one:
            del self._guests[guest.group]

    def _sort(self, group: str, before: int, now: int) -> None:
        """Note that `group` has another size than before."""
        if before:
            same = self._by_size[before]
            del same[group]
            if not same:
                del self._by_size[before]
        if now:
            self._by_size.setdefault(now, OrderedDict())[group] = None
        if now > self._largest or self._largest not in self._by_size:
            # A size changes by one.
            self._largest = now

    def make_room(self) -> bool:
        """Send a stranger away, else somebody who is known; False when everybody has said what it wants."""
        if not self._count:
            return False
        if not self._by_size:
            self._send_away(next(iter(self._known)))
            return True
        group = next(iter(self._by_size[self._largest]))
        self._send_away(next(iter(self._guests[group])))
        return True

    def admits(self, descriptor: int, address: str) -> bool:
        """Whether a connection that was accepted as `descriptor` may stay.

        The system gives the lowest number that is free: a high one says that all below it are taken.
        """
        limit = descriptors()
        own = min(OWN, limit // 4)
        if descriptor < limit - own - limit * settings.CSMS_RESERVED_PERCENT // 100:
            return True
        if self.make_room():
            return descriptor < limit - 1
        if descriptor >= limit - own:
            return False
        return is_trusted(address) or doorkeeper.of_this_loop().knows(address)

    def _send_away(self, guest: Guest) -> None:
        self.leave(guest)
        guest.send_away()
