"""A sampling profiler for one server process: which layer, and which line, has the processor.

Context: cProfile makes small Python functions many times dearer, and a thread that looks at the others' stacks gets the
GIL, and on a busy machine the processor, just when they begin to wait. Either distorts what is asked here.
Choice: the kernel interrupts whichever thread is running, every few milliseconds of processor time (ITIMER_PROF), and
faulthandler writes that thread's stack from within the signal handler, GIL or not, to a file that is read afterwards.
Consequence: time in compiled code and in the kernel is charged to the Python line that called it; who waits is charged
nothing. A stack costs some hundred small writes, so a server that is watched is a few percent slower.

The benchmark talks to it through the server's stdin and stdout: `start`, then `stop`, which prints one JSON object.
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator

from csms.benchmark import layers

STDIN = 0
# Of processor time; kernels round it up to their tick, 1 to 10 ms.
INTERVAL_SECONDS = 0.002
KEPT_LINES = 60

# `  File "/path/module.py", line 12 in function`; the innermost call comes first.
_FRAME = re.compile(r'  File "(.*)", line (\d+|\?\?\?) in (.*)')

Frame = tuple[str, str, str]
Charged = dict[tuple[str, str], float]


class Sampler(threading.Thread):
    """Started before the server; idle until it is told `start`."""

    def __init__(self) -> None:
        super().__init__(name="sampler", daemon=True)

    def run(self) -> None:
        # Not through sys.stdin: a daemon thread that holds its lock is in the way when the interpreter ends.
        while order := os.read(STDIN, 100):
            if order.strip() == b"start":
                self._sample_until_told()

    def _sample_until_told(self) -> None:
        # Stays open, and the handler registered: a signal may still be on its way when the timer has been stopped.
        self._file = tempfile.TemporaryFile("w+", errors="replace")
        began, used = time.monotonic(), time.process_time()
        faulthandler.register(signal.SIGPROF, self._file, all_threads=False)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_SECONDS, INTERVAL_SECONDS)
        os.read(STDIN, 100)
        signal.setitimer(signal.ITIMER_PROF, 0)
        lasted, used = time.monotonic() - began, time.process_time() - used
        self._file.seek(0)
        found = charge(stacks(self._file), used)
        sys.stdout.write(json.dumps(found | {"seconds": lasted, "cpu_seconds": used}) + "\n")
        sys.stdout.flush()


def stacks(lines: Iterable[str]) -> Iterator[list[Frame]]:
    """The stacks in faulthandler's output, innermost frame first: `(filename, line number, function)`."""
    stack: list[Frame] = []
    for line in lines:
        match = _FRAME.match(line)
        if match is not None:
            stack.append((match[1], match[2], match[3]))
        elif stack:
            yield stack
            stack = []
    if stack:
        yield stack


def charge(sampled: Iterable[list[Frame]], cpu_seconds: float) -> dict[str, object]:
    """Share `cpu_seconds` among the stacks: by thread and layer, and by layer and innermost line of ours."""
    by_layer: Charged = defaultdict(float)
    by_line: Charged = defaultdict(float)
    samples = 0
    for stack in sampled:
        samples += 1
        layer = layers.layer_of_stack(filename for filename, _, _ in stack)
        by_layer[_thread(stack), layer] += 1
        ours = next((frame for frame in stack if layers.is_ours(frame[0])), None)
        if ours is not None:
            by_line[layer, f"{ours[0].removeprefix(layers.ROOT)}:{ours[1]} {ours[2]}"] += 1
    each = cpu_seconds / samples if samples else 0.0
    return {
        "samples": samples,
        "layers": _dearest_first(by_layer, each),
        "lines": _dearest_first(by_line, each)[:KEPT_LINES],
    }


def _dearest_first(counted: Charged, each: float) -> list[tuple[str, str, float]]:
    return [(*key, count * each) for key, count in sorted(counted.items(), key=lambda item: -item[1])]


def _thread(stack: list[Frame]) -> str:
    """Which kind of thread has such a stack, told from its outermost frames."""
    if any(function == "answer_batch" for _, _, function in stack):
        return "lanes"
    return "event loop" if any("/asyncio/runners.py" in filename for filename, _, _ in stack) else "other threads"
