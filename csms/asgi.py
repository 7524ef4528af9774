"""The ASGI application: HTTP to Django, websockets to charge points, lifespan to housekeeping."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "csms.settings")

from django.core.asgi import get_asgi_application  # noqa: E402 - the settings module has to be named first

django_application = get_asgi_application()

from csms.bodies import guarded  # noqa: E402 - needs the applications that Django has loaded
from csms.metrics import watch  # noqa: E402 - models can be imported only now
from stations import connections, file_exchange  # noqa: E402
from stations.consumers import ChargePointConsumer  # noqa: E402
from stations.files.application import application as file_application  # noqa: E402

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

charge_point_application = ChargePointConsumer.as_asgi()
web_application = guarded(django_application)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Route by type: every websocket is a charge point's; its path is judged by the handshake, which answers 400.

    Over HTTP, files of charge points have an application of their own; the rest is Django's.
    """
    if scope["type"] == "websocket":
        await charge_point_application(scope, receive, send)
    elif scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["path"].startswith(file_exchange.PATH):
        await file_application(scope, receive, send)
    else:
        await web_application(scope, receive, send)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            connections.start_housekeeping()
            watch.start()
            await send({"type": "lifespan.startup.complete"})
        else:
            await connections.drain()
            await send({"type": "lifespan.shutdown.complete"})
            return
