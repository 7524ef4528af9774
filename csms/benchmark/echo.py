"""The echo server: what the server and a Channels consumer cost before anything is done with a message.

The same uvicorn configuration, the same consumer class of Channels with the same channel layer, the same JSON decoder;
every CALL is answered `[3, id, {}]`. The rate of this server is the ceiling that durable messages are compared with. A
second one has the product's core and garbage collection too, to tell those from the rest.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

import orjson
import uvicorn
from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer

from csms import affinity, server


class EchoConsumer(AsyncConsumer):
    """Accepts every websocket and confirms every CALL."""

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        await self.send({"type": "websocket.accept", "subprotocol": "ocpp1.6"})

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        frame = orjson.loads(message["text"])
        await self.send({"type": "websocket.send", "text": orjson.dumps([3, frame[1], {}]).decode()})

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        raise StopConsumer


echo = EchoConsumer.as_asgi()


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await echo(scope, receive, send)
    elif scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})


class EchoServer(uvicorn.Server):
    """Says where it listens, as the product does; `tuned` runs as the product's process does, else as Python does."""

    def __init__(self, config: uvicorn.Config, *, tuned: bool) -> None:
        super().__init__(config)
        self._tuned = tuned

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._tuned:
            affinity.stay(affinity.any_core())
            server.tend_garbage()
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        sys.stdout.write(f"Listening on http://127.0.0.1:{port}\n")
        sys.stdout.flush()


def serve(*, tuned: bool = False) -> None:
    """Serve on a free port until SIGTERM."""
    EchoServer(server.configuration(application), tuned=tuned).run(sockets=[server.bind("127.0.0.1", 0)])
