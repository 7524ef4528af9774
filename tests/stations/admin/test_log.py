"""The logs at the admin: newest first, never counted, never read back to their beginning."""

from __future__ import annotations

from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from stations.admin import filters
from stations.models import Boot, ChargePoint, ConnectionAttempt, ConnectorStatus, MeterValue, OcppMessage
from stations.models.message import MessageType
from tenants.models import Tenant
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.admin.people import sign_in, text_of, url
from tests.stations.admin.test_charge_points import counts_a_big_table
from tests.stations.rows import NOW, new_charge_point

LOGS = ["ocppmessage", "connectionattempt", "connectorstatus", "metervalue", "boot", "command", "transaction"]


@pytest.fixture
def viewer(in_tenant_a: Tenant) -> Client:
    return sign_in(in_tenant_a, "viewer")


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point()


def message(charge_point: ChargePoint, **fields: Any) -> OcppMessage:
    defaults = {"incoming": True, "message_type": MessageType.CALL, "action": "Heartbeat", "payload": "{}"}
    return OcppMessage.objects.create(charge_point=charge_point, received_at=NOW, **defaults | fields)


def meter_value(charge_point: ChargePoint, number: int) -> MeterValue:
    return MeterValue.objects.create(
        charge_point=charge_point, connector_id=1, timestamp=NOW, received_at=NOW, sampled_value=[], digest=number
    )


def listed(client: Client, model: str, **query: Any) -> list[Any]:
    return list(client.get(url(f"stations_{model}_changelist"), query).context["cl"].result_list)


@pytest.mark.parametrize("model", LOGS)
def test_list_is_never_counted_and_offers_no_counts(viewer: Client, charge_point: ChargePoint, model: str) -> None:
    message(charge_point)
    for query in ({}, {"charge_point": charge_point.pk}, {"q": "CP"}, {"_facets": "True"}):
        with CaptureQueriesContext(connection) as captured:
            page = text_of(viewer.get(url(f"stations_{model}_changelist"), query))
        assert not [each for each in captured.captured_queries if counts_a_big_table(each["sql"])]
        assert "Show counts" not in page


def test_pages_go_on_until_a_short_one(viewer: Client, charge_point: ChargePoint) -> None:
    rows = [message(charge_point) for _ in range(70)]
    first, second = listed(viewer, "ocppmessage"), listed(viewer, "ocppmessage", p=2)
    assert first + second == rows[::-1]
    assert listed(viewer, "ocppmessage", p=9) == []


def test_unfiltered_list_looks_at_the_newest_rows_of_the_table_only(
    viewer: Client, charge_point: ChargePoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "WINDOW", 2)
    messages = [message(charge_point) for _ in range(4)]
    values = [meter_value(charge_point, number) for number in range(4)]
    assert listed(viewer, "ocppmessage") == messages[:1:-1]
    assert listed(viewer, "metervalue") == values[:1:-1]
    # The newest of one charge point are found by an index, except where there is none.
    assert listed(viewer, "ocppmessage", charge_point=charge_point.pk) == messages[::-1]
    assert listed(viewer, "ocppmessage", q="cp-1") == messages[::-1]
    assert listed(viewer, "metervalue", charge_point=charge_point.pk) == values[:1:-1]


def test_window_is_measured_over_the_table_of_all_tenants(tenants: Tenants, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "WINDOW", 3)
    with tenant_scope(tenants.tenant_a):
        message(new_charge_point())
    with tenant_scope(tenants.tenant_b):
        newest = [message(new_charge_point()), *(message(ChargePoint.objects.get()) for _ in range(2))]
    assert listed(sign_in(tenants.tenant_a), "ocppmessage") == []
    assert listed(sign_in(tenants.tenant_b), "ocppmessage") == newest[::-1]


def test_messages_are_filtered_by_action_type_and_direction(viewer: Client, charge_point: ChargePoint) -> None:
    heartbeat = message(charge_point)
    answer = message(charge_point, incoming=False, message_type=MessageType.CALLRESULT)
    error = message(charge_point, incoming=False, message_type=MessageType.CALLERROR, action="Authorize")
    queries: list[tuple[dict[str, Any], list[OcppMessage]]] = [
        ({"direction": "in"}, [heartbeat]),
        ({"direction": "out"}, [error, answer]),
        ({"message_type__exact": 4}, [error]),
        ({"action": "Heartbeat"}, [answer, heartbeat]),
        ({"action": "Heartbeat", "direction": "out"}, [answer]),
    ]
    for query, found in queries:
        assert listed(viewer, "ocppmessage", **query) == found


def test_message_is_pretty_printed_and_text_that_is_no_json_shown_as_it_came(
    viewer: Client, charge_point: ChargePoint
) -> None:
    pages = {
        '{"meterValue":[{"value":1}]}': '{\n  "meterValue": [\n    {\n      "value": 1\n    }\n  ]\n}',
        "[2, broken": "[2, broken",
    }
    for payload, shown in pages.items():
        row = message(charge_point, payload=payload)
        assert shown in unescape(text_of(viewer.get(url("stations_ocppmessage_change", row.pk))))


def test_attempts_are_found_by_exact_identity_and_reason(viewer: Client) -> None:
    def attempt(identity: str, reason: str = "") -> ConnectionAttempt:
        return ConnectionAttempt.objects.create(
            identity=identity, at=NOW, accepted=not reason, http_status=401 if reason else 101, reason=reason
        )

    good, bad, other = attempt("CP-1"), attempt("CP-1", "wrong_password"), attempt("CP-10", "unknown_identity")
    assert listed(viewer, "connectionattempt") == [other, bad, good]
    assert listed(viewer, "connectionattempt", q="CP-1") == [bad, good]
    assert listed(viewer, "connectionattempt", accepted__exact=0) == [other, bad]
    assert listed(viewer, "connectionattempt", reason="unknown_identity") == [other]


def test_statuses_and_boots_are_listed_by_charge_point(viewer: Client, charge_point: ChargePoint) -> None:
    other = new_charge_point("CP-2")
    for station in (charge_point, other):
        Boot.objects.create(charge_point=station, at=NOW, payload={"charge_point_vendor": "ABB"}, status="Accepted")
        ConnectorStatus.objects.create(
            charge_point=station, connector_id=1, status="Faulted", error_code="GroundFailure", at=NOW, received_at=NOW
        )
    for model in ("boot", "connectorstatus"):
        assert [row.charge_point for row in listed(viewer, model, charge_point=other.pk)] == [other]
    assert "GroundFailure" in text_of(viewer.get(url("stations_connectorstatus_changelist")))


def test_lists_take_the_same_queries_for_one_row_and_for_many(viewer: Client, charge_point: ChargePoint) -> None:
    def queries() -> list[int]:
        found = []
        for model in LOGS[:5]:
            with CaptureQueriesContext(connection) as captured:
                viewer.get(url(f"stations_{model}_changelist"))
            found.append(len(captured))
        return found

    def add(station: ChargePoint, number: int) -> None:
        message(station)
        meter_value(station, number)
        Boot.objects.create(charge_point=station, at=NOW, payload={}, status="Accepted")
        ConnectorStatus.objects.create(charge_point=station, connector_id=1, at=NOW, received_at=NOW)
        ConnectionAttempt.objects.create(
            charge_point=station, identity=station.identity, at=NOW + timedelta(seconds=number), accepted=True,
            http_status=101,
        )  # fmt: skip

    add(charge_point, 1)
    with_one = queries()
    for number in range(2, 8):
        add(new_charge_point(f"CP-{number}"), number)
    assert queries() == with_one
