"""Which core the interpreter of a server process runs on.

Context: in Python one thread runs at a time, and the event loop and its lane take turns hundreds of times a second. Let
alone, the system gives each a core of its own; then every turn wakes the other core and starts it with cold caches,
which costs a message a fifth of its processor time more and shows in the slowest answers.
Choice: the event loop's thread, and the threads made by it, stay on one core; threads that mostly work without the
interpreter (key derivation, files) roam. Consequence: a process is busy on one core at most, as it is anyway; several
processes take cores in turn. CSMS_ONE_CORE=false leaves it all to the system, for machines whose cores are shared with
other pinned work.
"""

from __future__ import annotations

import os
import random

from django.conf import settings

_POSSIBLE = hasattr(os, "sched_setaffinity")
_usable = frozenset(os.sched_getaffinity(0)) if _POSSIBLE else frozenset()


def any_core() -> int:
    """The number of a core to begin with; another in each server that shares the machine, as far as chance goes."""
    return random.randrange(max(1, len(_usable)))  # noqa: S311 - no secret


def stay(core: int) -> None:
    """Keep the calling thread, and those it starts from now on, on the `core`th of the usable cores, counted round."""
    if settings.CSMS_ONE_CORE and len(_usable) > 1:
        cores = sorted(_usable)
        os.sched_setaffinity(0, {cores[core % len(cores)]})


def roam() -> None:
    """Let the calling thread run on every core again."""
    if len(_usable) > 1:
        os.sched_setaffinity(0, _usable)
