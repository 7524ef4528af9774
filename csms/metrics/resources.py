"""What a process uses of its machine; the library's own collectors cannot speak for several processes."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

from csms.metrics.figures import Figures

SERVER, WORKER = "server", "worker"
_STATM = Path("/proc/self/statm")
# A worker that lives inside a server tells nothing of its own.
_serves = False


def tell(current: Figures, kind: str) -> None:
    """Tell memory and processor time of this process, a `server` or a `worker`."""
    global _serves
    _serves = _serves or kind == SERVER
    if kind == WORKER and _serves:
        return
    usage = resource.getrusage(resource.RUSAGE_SELF)
    current.tell_resources(kind, _resident_bytes(usage.ru_maxrss), usage.ru_utime + usage.ru_stime)


def _resident_bytes(most: int) -> int:
    """Resident memory now; where the system does not tell, the most it has been."""
    try:
        return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return most if sys.platform == "darwin" else most * 1024
