"""The addresses that are shown and sent: of settings, or of the ports that a server listens on; never guessed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings

from csms import addresses
from stations import connections
from stations.models import ServerProcess
from tests.conftest import Csms, LiveTenant
from tests.servers import LOOPBACK, CsmsServer, wait_until

NOW = datetime.now(UTC)


@pytest.fixture
def nothing(settings: Any) -> Any:
    for name in ("PUBLIC", "FILES", "WS", "WSS", "MTLS"):
        setattr(settings, f"CSMS_{name}_URL", "")
    return settings


@pytest.mark.parametrize(
    ("known", "profile", "exact", "expected"),
    [
        ({"PUBLIC": "http://csms.example.com:9000"}, 1, False, "ws://csms.example.com:9000"),
        ({"PUBLIC": "http://csms.example.com:9000"}, 2, False, None),
        ({"PUBLIC": "http://csms.example.com:9000"}, 3, False, None),
        ({"PUBLIC": "https://csms.example.com/csms"}, 2, True, "wss://csms.example.com/csms"),
        ({"PUBLIC": "https://csms.example.com"}, 1, False, "wss://csms.example.com"),
        # It would be refused there.
        ({"PUBLIC": "https://csms.example.com"}, 1, True, None),
        ({"PUBLIC": "https://csms.example.com"}, 3, False, None),
        ({"PUBLIC": "https://csms.example.com", "WS": "ws://10.0.0.1"}, 1, False, "ws://10.0.0.1"),
        ({"PUBLIC": "http://csms.example.com", "WSS": "wss://csms.example.com:8443"}, 2, False,
         "wss://csms.example.com:8443"),
        ({"MTLS": "wss://csms.example.com:8444"}, 3, False, "wss://csms.example.com:8444"),
        ({}, 1, False, None),
    ],
)  # fmt: skip
@pytest.mark.django_db
def test_settings_say_it_by_profile(
    nothing: Any, known: dict[str, str], profile: int, exact: bool, expected: str | None
) -> None:
    for name, value in known.items():
        setattr(nothing, f"CSMS_{name}_URL", value)
    assert addresses.dial(profile, exact=exact) == expected


def test_host_of_a_port_is_its_own_or_that_of_the_installation(nothing: Any) -> None:
    ports = [("ws", "10.0.0.5", 9000), ("wss", "10.0.0.5", 9443), ("mtls", "10.0.0.5", 9444)]
    assert addresses.listening(ports) == {
        "ws": "ws://10.0.0.5:9000", "wss": "wss://10.0.0.5:9443", "mtls": "wss://10.0.0.5:9444",
    }  # fmt: skip
    assert addresses.listening([("ws", "::1", 9000)]) == {"ws": "ws://[::1]:9000"}
    everywhere = [("ws", "0.0.0.0", 9000), ("mtls", "::", 9444)]  # noqa: S104 - nothing is bound
    nothing.ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
    assert addresses.listening(everywhere) == {}
    nothing.ALLOWED_HOSTS = ["localhost", "csms.example.com"]
    assert addresses.listening(everywhere) == {
        "ws": "ws://csms.example.com:9000",
        "mtls": "wss://csms.example.com:9444",
    }
    nothing.CSMS_PUBLIC_URL = "http://other.example.com:9000"
    assert addresses.listening(everywhere)["mtls"] == "wss://other.example.com:9444"


@pytest.mark.django_db
def test_other_processes_read_what_a_server_that_is_alive_listens_on(nothing: Any) -> None:
    def process(number: int, ago: timedelta, port: int | None) -> None:
        found = None if port is None else {"ws": f"ws://127.0.0.1:{port}"}
        ServerProcess.objects.create(
            id=f"process-{number}", host="h", pid=1, started_at=NOW, alive_at=NOW - ago, addresses=found
        )

    assert (addresses.dial(1), addresses.files()) == (None, None)
    process(1, connections.DEAD_AFTER * 2, 9001)
    process(2, timedelta(), None)
    assert addresses.dial(1) is None
    process(3, timedelta(), 9003)
    assert (addresses.dial(1), addresses.files()) == ("ws://127.0.0.1:9003", "http://127.0.0.1:9003")


async def test_what_is_shown_and_sent_works_as_it_stands(new_csms_server: Callable[..., CsmsServer]) -> None:
    server = new_csms_server()
    tenant = server.create_tenant("before")
    # Nobody serves yet.
    assert tenant["ocpp_url"] is None
    server.start()
    wait_until(
        lambda: server.create_tenant(f"after-{datetime.now(UTC).timestamp():.0f}")["ocpp_url"] is not None,
        timeout_seconds=30, describe="the server to say where it listens",
    )  # fmt: skip
    assert server.create_tenant("later")["ocpp_url"] == f"ws://{LOOPBACK}:{server.port}/ocpp/later/"
    csms = Csms(server, LiveTenant("before", tenant["api_key"]))
    cp = csms.charge_point("CP-1")
    assert csms.get("charge-points/CP-1/")["ocpp_url"] == f"ws://{LOOPBACK}:{server.port}/ocpp/before/CP-1"
    none = csms.request("PUT", "charge-points/CP-3/", {"security_profile": 3})
    assert (none["ocpp_url"], "CSMS_MTLS_URL" in none["ocpp_url_warning"]) == (None, True)
    async with cp:
        asked = await asyncio.to_thread(csms.request, "POST", "diagnostics/", {"charge_point": "CP-1"})
    assert f"http://{LOOPBACK}:{server.port}/files/" in json.dumps(asked)


def test_product_has_no_address_by_default() -> None:
    # The tests' own process has one, for what is tested in it.
    assert django_settings.CSMS_PUBLIC_URL == "http://127.0.0.1:8000"
