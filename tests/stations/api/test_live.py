"""What only a real server shows: paths and bodies as they were sent, and changes at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from django.db import connection

from stations.models import ChargePoint
from tenants.scope import tenant_scope
from tests.conftest import Csms
from tests.stations.api.conftest import Api, Owner


class TestServer:
    def test_slash_of_an_identity(self, csms: Csms) -> None:
        for sent, identity in (("RAW", "RAW"), ("RAW%2Fconnectors", "RAW/connectors"), ("R%20%C3%BC", "R ü")):
            assert csms.request("PUT", f"charge-points/{sent}/", {})["identity"] == identity
            assert csms.get(f"charge-points/{sent}/")["ocpp_url"].endswith(f"/ocpp/{csms.tenant.slug}/{sent}")
        assert csms.get("charge-points/RAW/connectors/")["results"] == []
        assert csms.get("charge-points/RAW%2Fconnectors/connectors/")["results"] == []
        made = csms.post("charge-points/RAW%2Fconnectors/commands/", {"action": "ClearCache"})
        assert made["charge_point"] == "RAW/connectors"

    def test_links_lead_to_where_they_say(self, csms: Csms) -> None:
        for number in range(3):
            csms.request("PUT", f"charge-points/LINK%2F{number}/", {})
        page = csms.get("charge-points/", page_size=2)
        headers = {"Authorization": f"Api-Key {csms.tenant.api_key}"}
        following = httpx.get(page["next"], headers=headers).json()
        assert httpx.get(following["previous"], headers=headers).json()["results"] == page["results"]

    def test_body_in_chunks(self, csms: Csms) -> None:
        def chunks() -> Iterator[bytes]:
            yield b'{"driver": '
            yield b'"in chunks"}'

        headers = {"Authorization": f"Api-Key {csms.tenant.api_key}", "Content-Type": "application/json"}
        url = f"{csms.server.http_url}/api/v1/id-tags/CHUNKS/"
        response = httpx.put(url, content=chunks(), headers=headers)
        assert (response.status_code, response.json()["driver"]) == (201, "in chunks")

    def test_charge_points_url_without_a_websocket(self, csms: Csms) -> None:
        response = httpx.get(f"{csms.server.http_url}/ocpp/{csms.tenant.slug}/CP-1")
        assert (response.status_code, response.headers["Upgrade"]) == (426, "websocket")

    def test_ready(self, csms: Csms) -> None:
        assert httpx.get(f"{csms.server.http_url}/readyz/").json()["status"] == "ok"


def at_once(number: int, request: Callable[[int], Any]) -> list[int]:
    """The statuses that `request` gives in `number` threads that begin together."""
    together = threading.Barrier(number)
    statuses: list[int] = []

    def run(index: int) -> None:
        try:
            together.wait(10)
            statuses.append(request(index).status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return sorted(statuses)


@pytest.mark.django_db(transaction=True)
class TestAtTheSameMoment:
    def test_one_of_those_that_start_from_one_state_holds(self, a: Owner) -> None:
        for path in ("charge-points/SAME/", "id-tags/SameTag/"):
            tag = {"If-Match": a.api("GET", path)["ETag"]}
            statuses = at_once(6, lambda n, p=path, t=tag: Api(a.api.key)("PATCH", p, {"description": f"{n}"}, **t))
            assert statuses == [200, *[412] * 5]

    def test_one_of_those_that_register_an_identity_does(self, a: Owner) -> None:
        statuses = at_once(6, lambda n: Api(a.api.key)("PUT", "charge-points/NEW/", {"description": f"{n}"}))
        assert statuses.count(201) == 1
        assert set(statuses) <= {200, 201, 409}
        with tenant_scope(a.tenant):
            assert ChargePoint.objects.filter(identity="NEW").count() == 1

    def test_one_close_of_a_transaction_holds(self, a: Owner) -> None:
        path = f"transactions/{a.transaction.pk}/close/"
        assert at_once(4, lambda n: Api(a.api.key)("POST", path)) == [200, 409, 409, 409]
