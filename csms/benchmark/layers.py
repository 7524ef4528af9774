"""Which part of the product a stack frame belongs to, told from the file it is in."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOT = f"{Path(__file__).resolve().parent.parent.parent}/"
EVENT_LOOP = "event loop, sockets"
OTHER = "thread pools, other"

# The first that the path contains decides. A frame of a file that is not here (most of the standard library; compiled
# modules have none) counts for who called it.
_PARTS = (
    ("/uvicorn/", "uvicorn, websockets"),
    ("/websockets/", "uvicorn, websockets"),
    ("/channels/", "channels"),
    ("/asgiref/", "channels"),
    ("/csms/channel_layer.py", "channels"),
    ("/asyncio/runners.py", EVENT_LOOP),
    ("/asyncio/base_events.py", EVENT_LOOP),
    ("/asyncio/selector_events.py", EVENT_LOOP),
    ("/selectors.py", EVENT_LOOP),
    ("/csms/ocppj/", "OCPP-J session"),
    ("/ocpp/v16/", "OCPP-J session"),
    ("/stations/consumers.py", "consumer"),
    ("/stations/bulk.py", "building bulk SQL"),
    ("/stations/batch.py", "building bulk SQL"),
    ("/stations/ocpp/", "profile functions"),
    ("/stations/meter_values.py", "profile functions"),
    ("/stations/transactions.py", "profile functions"),
    ("/stations/authorization.py", "profile functions"),
    ("/stations/dispatch.py", "dispatch, lanes"),
    ("/stations/masking.py", "dispatch, lanes"),
    ("/psycopg/", "database driver, COMMIT"),
    ("/psycopg_pool/", "database driver, COMMIT"),
    ("/django/db/backends/", "database driver, COMMIT"),
    ("/django/db/transaction.py", "database driver, COMMIT"),
    ("/django/db/utils.py", "database driver, COMMIT"),
    ("/tenants/postgresql/", "database driver, COMMIT"),
    ("/django/db/", "ORM"),
    ("/tenants/scope", "ORM"),
    ("/stations/models/", "ORM"),
    ("/tenants/models/", "ORM"),
    ("/celery/", "embedded worker, housekeeping"),
    ("/kombu/", "embedded worker, housekeeping"),
    ("/stations/connections.py", "embedded worker, housekeeping"),
    ("/stations/handshake.py", "embedded worker, housekeeping"),
)
LAYERS = (*dict.fromkeys(layer for _, layer in _PARTS), OTHER)
# Lines are named in these; the tenant guard and the database backend below them are on the way to every statement.
_OURS = tuple(f"{ROOT}{package}/" for package in ("csms", "stations", "billing"))
_NOT_MEASURED = (f"{ROOT}csms/benchmark/", f"{ROOT}csms/management/")


@cache
def layer(filename: str) -> str | None:
    """The layer of a file, None for one that counts for its caller."""
    return next((layer for part, layer in _PARTS if part in filename), None)


@cache
def is_ours(filename: str) -> bool:
    """Whether a line of this file says where in the product we are."""
    return filename.startswith(_OURS) and not filename.startswith(_NOT_MEASURED)


def layer_of_stack(filenames: Iterable[str]) -> str:
    """The layer of a stack, given from the innermost frame outwards."""
    return next((found for name in filenames if (found := layer(name)) is not None), OTHER)
