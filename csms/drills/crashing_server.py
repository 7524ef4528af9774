"""`python -m csms.drills.crashing_server serve …`: the product server with a fuse that kills it at a chosen point.

The product has no such switch: this wraps two of its functions from outside. CSMS_DRILL_POINT is `after_commit` (the
batch is durable, no answer has left), `mid_batch` (some of the batch's rows are written, none committed) or `none`;
the fuse burns for CSMS_DRILL_BATCHES batches.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import Any

from django.core.management import execute_from_command_line


def arm(point: str, batches: int) -> None:
    """Wrap the lane so that the process is killed (SIGKILL) in or after its `batches`-th batch."""
    from stations import dispatch  # noqa: PLC0415 - Django must be set up first

    counter = itertools.count(1)
    answer_batch, run_group = dispatch.answer_batch, dispatch._run_group

    def killed_after_commit(items: list[Any]) -> Any:
        outcomes = answer_batch(items)
        if next(counter) >= batches:
            os.kill(os.getpid(), signal.SIGKILL)
        return outcomes

    def killed_mid_batch(batch: Any, items: list[Any], now: Any) -> Any:
        outcomes = run_group(batch, items, now)
        if next(counter) >= batches:
            batch.flush_facts()
            os.kill(os.getpid(), signal.SIGKILL)
        return outcomes

    if point == "after_commit":
        dispatch.answer_batch = killed_after_commit
    elif point == "mid_batch":
        dispatch._run_group = killed_mid_batch


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "csms.settings")
    import django  # noqa: PLC0415 - the settings module has to be named first

    django.setup()
    arm(os.environ.get("CSMS_DRILL_POINT", "none"), int(os.environ.get("CSMS_DRILL_BATCHES", "1")))
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
