"""`manage.py benchmark --inside keeper`: one process beside each temporary database, which does what needs the models.

Starting Django costs seconds, so it is started once: orders come on stdin, one JSON object a line, and what each gives
leaves on stdout as `{"done": …}` or `{"failed": …}`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from django.core.management import call_command
from django.db import DatabaseError

from csms.benchmark import history, rows

ORDERS: dict[str, Callable[..., Any]] = {
    "migrate": lambda: call_command("migrate", verbosity=0, stdout=sys.stderr),
    "seed": rows.seed,
    "count": rows.count,
    "api_key": rows.api_key,
    "session": rows.session,
    "history": history.grow,
    "tidy": history.tidy,
    "places": history.places,
}


def serve() -> None:
    """Obey until stdin ends."""
    for line in sys.stdin:
        order = json.loads(line)
        try:
            reply = {"done": ORDERS[order["do"]](*order["arguments"])}
        except DatabaseError as error:
            reply = {"failed": f"{order['do']}: {error}"}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()
