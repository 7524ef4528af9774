"""The layers of the product: the functions at which a message passes from one to the next.

A test checks that each exists, so that a rename does not silently leave a hole in the table of `--profile`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from stations.ocpp.actions import FROM_CHARGE_POINT

LOOP = "event loop, sockets"
LANE = "lane: groups, transaction, message log"
OTHER = "other threads"


@dataclass(frozen=True)
class Point:
    """A function where a layer begins: what it calls belongs to the layer, unless a point of another one is called."""

    layer: str
    module: str
    name: str

    def owner(self) -> Any:
        """The module or class that has the function. Raises AttributeError or ImportError when there is none."""
        owner: Any = import_module(self.module)
        for part in self.name.split(".")[:-1]:
            owner = getattr(owner, part)
        return owner

    @property
    def attribute(self) -> str:
        return self.name.rpartition(".")[2]


_UVICORN = "uvicorn, websockets"
_CHANNELS = "Channels"
_SESSION = "OCPP-J session"
_ORM = "look-ups by the ORM"
_BULK = "bulk SQL"
_DRIVER = "database driver, COMMIT"
_SANSIO = "uvicorn.protocols.websockets.websockets_sansio_impl"

PLUMBING = (
    Point(_UVICORN, _SANSIO, "WebSocketsSansIOProtocol.data_received"),
    Point(_UVICORN, _SANSIO, "WebSocketsSansIOProtocol.receive"),
    Point(_UVICORN, _SANSIO, "WebSocketsSansIOProtocol.send"),
    Point(_CHANNELS, "channels.consumer", "AsyncConsumer.__call__"),
)
PRODUCT = (
    Point("consumer", "stations.consumers", "ChargePointConsumer.__call__"),
    Point("consumer", "stations.consumers", "ChargePointConsumer.websocket_receive"),
    Point(_SESSION, "csms.ocppj.session", "Session.receive"),
    Point(_SESSION, "csms.ocppj.session", "Session.send_result"),
    Point(_SESSION, "csms.ocppj.session", "Session.frames_to_send"),
    Point("dispatch", "stations.dispatch", "answer"),
    Point("dispatch", "stations.lanes", "Lane._take"),
    Point("dispatch", "stations.lanes", "_resolve"),
    Point(LANE, "stations.dispatch", "answer_batch"),
    Point(LANE, "stations.dispatch", "_log_call"),
    Point(_ORM, "stations.lane_sql", "look_up"),
    Point(_ORM, "stations.batch", "Batch.owner"),
    Point(_ORM, "stations.transaction_rows", "TransactionRows.load"),
    Point(_ORM, "django.db.models.query", "QuerySet._fetch_all"),
    Point(_ORM, "django.db.models.query", "QuerySet.update"),
    Point(_BULK, "stations.batch", "insert_rows"),
    Point(_DRIVER, "django.db.backends.utils", "CursorWrapper.execute"),
    Point(_DRIVER, "django.db.backends.utils", "CursorWrapper.executemany"),
    Point(_DRIVER, "django.db.backends.base.base", "BaseDatabaseWrapper.commit"),
    Point(_DRIVER, "django.db.backends.base.base", "BaseDatabaseWrapper.set_autocommit"),
)
PROFILE_FUNCTIONS = "profile functions"


def actions() -> dict[str, Callable[..., Any]]:
    """The table by which profile functions are called: they have no other name to be watched by."""
    return FROM_CHARGE_POINT
