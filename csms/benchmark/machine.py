"""What the numbers were measured on; without it they mean nothing."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import psutil

PACKAGES = ("Django", "channels", "uvicorn", "uvloop", "websockets", "orjson", "jsonschema-rs", "psycopg")
SYNCS = 50


def describe() -> dict[str, str]:
    """Facts by name, in the order to show them."""
    return {
        "Processor": _processor(),
        "Cores": str(_cores()),
        "Memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "System": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "Packages": ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name))),
        "Disk": f"a written and synced page of 4 KiB takes {_sync_ms():.2f} ms",
        "Load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _sync_ms() -> float:
    """Median time of a write with fsync, in the folder of temporary files, where the databases of the run are."""
    took = []
    with tempfile.TemporaryFile() as file:
        for _ in range(SYNCS):
            began = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return median(took) * 1000
