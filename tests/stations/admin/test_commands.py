"""Commands at the admin: the payload is exactly what was filled in, the page shows what came of it."""

from __future__ import annotations

from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from stations.models import ChargePoint, Command, CommandBatch, ConfigurationKey, Connector
from stations.models.command import CommandStatus
from tenants.models import Tenant
from tests.stations.admin.people import sign_in, submit, text_of, url
from tests.stations.rows import new_charge_point, new_id_tag, start


@pytest.fixture
def operator(in_tenant_a: Tenant) -> Client:
    return sign_in(in_tenant_a, "operator", username="otto")


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point()


def new_command(charge_point: ChargePoint, **fields: Any) -> Command:
    now = timezone.now()
    times = {"created_at": now, "expires_at": now + timedelta(days=1)}
    defaults = {"action": "Reset", "payload": {"type": "Hard"}, "requested_by": "otto"}
    return Command.objects.create(charge_point=charge_point, **times | defaults | fields)


# Dialog, what is filled in, and the payload that has to be sent; a member that is not there must stay away.
EXACT = [
    ("remote_start", {"id_tag": "TAG-1"}, {"idTag": "TAG-1"}),
    ("remote_start", {"id_tag": "tAg-x", "connector_id": "2"}, {"connectorId": 2, "idTag": "tAg-x"}),
    ("remote_start", {"id_tag": " 04 ", "connector_id": "99"}, {"connectorId": 99, "idTag": " 04 "}),
    ("remote_stop", {"transaction_id": "4711"}, {"transactionId": 4711}),
    ("remote_stop", {"transaction_id": "-1"}, {"transactionId": -1}),
    ("reset", {"type": "Hard"}, {"type": "Hard"}),
    ("reset", {"type": "Soft"}, {"type": "Soft"}),
    ("unlock_connector", {"connector_id": "9"}, {"connectorId": 9}),
    (
        "change_availability",
        {"connector_id": "0", "type": "Inoperative"},
        {"connectorId": 0, "type": "Inoperative"},
    ),
    ("change_availability", {"connector_id": "2", "type": "Operative"}, {"connectorId": 2, "type": "Operative"}),
    ("get_configuration", {"keys": ""}, {}),
    ("get_configuration", {"keys": "SupportedFeatureProfiles"}, {"key": ["SupportedFeatureProfiles"]}),
    ("get_configuration", {"keys": "A\r\n\r\n b,c \r\n"}, {"key": ["A", "b,c"]}),
    (
        "change_configuration",
        {"key": "MeterValueSampleInterval", "value": "60"},
        {"key": "MeterValueSampleInterval", "value": "60"},
    ),
    ("change_configuration", {"key": "NoSuchKey", "value": "-1"}, {"key": "NoSuchKey", "value": "-1"}),
    ("change_configuration", {"key": "K", "value": ""}, {"key": "K", "value": ""}),
    ("change_configuration", {"key": "K", "value": " true "}, {"key": "K", "value": " true "}),
    ("clear_cache", {}, {}),
    ("trigger_message", {"requested_message": "Heartbeat"}, {"requestedMessage": "Heartbeat"}),
    (
        "trigger_message",
        {"requested_message": "MeterValues", "connector_id": "1"},
        {"requestedMessage": "MeterValues", "connectorId": 1},
    ),
    ("data_transfer", {"vendor_id": "com.example"}, {"vendorId": "com.example"}),
    (
        "data_transfer",
        {"vendor_id": "v", "message_id": "m", "data": '{"a": 1}\r\n'},
        {"vendorId": "v", "messageId": "m", "data": '{"a": 1}\n'},
    ),
]


@pytest.mark.parametrize(("dialog", "fields", "payload"), EXACT)
def test_payload_is_exactly_what_was_filled_in(
    operator: Client, charge_point: ChargePoint, dialog: str, fields: dict[str, str], payload: dict[str, Any]
) -> None:
    response = submit(operator, f"stations_chargepoint_{dialog}", charge_point.pk, **fields)
    command = Command.objects.get()

    assert command.payload == payload
    assert (command.charge_point, command.requested_by, command.status) == (charge_point, "otto", "queued")
    assert response["HX-Redirect"] == url("stations_command_change", command.pk)


@pytest.mark.parametrize(
    ("dialog", "fields", "error"),
    [
        ("remote_start", {"id_tag": ""}, "This field is required."),
        ("remote_start", {"id_tag": "x" * 21}, "idTag is longer than 20 characters."),
        ("unlock_connector", {"connector_id": "two"}, "Enter a whole number."),
        ("unlock_connector", {"connector_id": str(2**40)}, "connectorId does not fit into 32 bits."),
        ("reset", {"type": "Gentle"}, "Select a valid choice."),
        ("get_configuration", {"keys": "k" * 51}, "key is longer than 50 characters."),
    ],
)
def test_payload_that_breaks_the_schema_is_refused_at_its_field(
    operator: Client, charge_point: ChargePoint, dialog: str, fields: dict[str, str], error: str
) -> None:
    response = submit(operator, f"stations_chargepoint_{dialog}", charge_point.pk, **fields)
    assert response.status_code == 200
    assert "HX-Redirect" not in response
    assert error in text_of(response)
    assert not Command.objects.exists()


def test_refusal_is_shown_in_the_dialog(operator: Client, charge_point: ChargePoint) -> None:
    ChargePoint.objects.update(disabled=True)
    response = submit(operator, "stations_chargepoint_clear_cache", charge_point.pk)
    assert "The charge point is disabled; it cannot connect." in text_of(response)
    assert "HX-Redirect" not in response


def test_unwise_command_is_sent_and_its_page_warns(operator: Client, charge_point: ChargePoint) -> None:
    ChargePoint.objects.update(connected=False)
    Connector.objects.create(charge_point=charge_point, connector_id=1)
    response = submit(operator, "stations_chargepoint_unlock_connector", charge_point.pk, connector_id="9")
    page = text_of(operator.get(response["HX-Redirect"]))
    assert "has not reported a connector 9" in page
    assert "is not connected; the command waits" in page


def test_dialog_tells_beforehand_that_the_charge_point_is_offline(operator: Client, charge_point: ChargePoint) -> None:
    address = url("stations_chargepoint_remote_start", charge_point.pk)
    assert "is not connected" not in text_of(operator.get(address))
    ChargePoint.objects.update(connected=False, registration_status="Pending")
    assert "is not connected" in text_of(operator.get(address))
    assert "registration is Pending" in text_of(operator.get(address))


def test_suggestions_are_id_tags_running_transactions_and_known_keys(
    operator: Client, charge_point: ChargePoint
) -> None:
    new_id_tag("TAG-1", driver="Anna")
    new_id_tag("TAG-2", blocked=True)
    transaction_id = start(charge_point).transaction_id
    ConfigurationKey.objects.create(charge_point=charge_point, key="HeartbeatInterval", value="300")

    start_dialog = text_of(operator.get(url("stations_chargepoint_remote_start", charge_point.pk)))
    assert '<option value="TAG-1">Anna</option>' in start_dialog
    assert "TAG-2" not in start_dialog
    stop_dialog = text_of(operator.get(url("stations_chargepoint_remote_stop", charge_point.pk)))
    assert f'name="transaction_id" value="{transaction_id}"' in stop_dialog
    address = url("stations_chargepoint_change_configuration", charge_point.pk)
    key_dialog = text_of(operator.get(address, {"key": "HeartbeatInterval"}))
    assert 'name="key" value="HeartbeatInterval"' in key_dialog
    assert 'name="value" value="300"' in key_dialog


# --- a command's page ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fields", "expected", "polls"),
    [
        ({}, ["queued", "waits to be sent"], True),
        ({"status": CommandStatus.SENT}, ["waits for the answer"], True),
        ({"status": CommandStatus.ANSWERED, "response": {"status": "NotSupported"}}, [">NotSupported<"], False),
        (
            {
                "status": CommandStatus.ERROR,
                "error": {"code": "NotImplemented", "description": "not known", "details": {"hint": 1}},
            },
            ["CALLERROR <strong>NotImplemented</strong>: not known", "&quot;hint&quot;: 1"],
            False,
        ),
        ({"status": CommandStatus.TIMED_OUT}, ["did not answer in time"], False),
        ({"status": CommandStatus.EXPIRED}, ["was not sent before"], False),
        ({"status": CommandStatus.UNKNOWN}, ["connection was lost before the answer"], False),
        ({"status": CommandStatus.WITHDRAWN}, ["withdrawn"], False),
        (
            {
                "action": "RemoteStartTransaction",
                "payload": {"idTag": "T"},
                "status": CommandStatus.ANSWERED,
                "response": {"status": "Accepted"},
                "answered_at": timezone.now(),
            },
            ["waits for what follows"],
            True,
        ),
        (
            {"status": CommandStatus.ANSWERED, "response": {"status": "Accepted"}, "effect": {"transaction": 42}},
            ["Transaction 42</a>"],
            False,
        ),
    ],
)
def test_page_shows_the_outcome_and_refreshes_until_it_is_final(
    operator: Client, charge_point: ChargePoint, fields: dict[str, Any], expected: list[str], polls: bool
) -> None:
    command = new_command(charge_point, **fields)
    for page in (url("stations_command_change", command.pk), url("stations_command_state", command.pk)):
        shown = text_of(operator.get(page))
        for each in expected:
            assert each in shown
        assert (f'hx-get="{url("stations_command_state", command.pk)}"' in shown) is polls


def test_members_are_shown_in_the_order_of_the_wire(operator: Client, charge_point: ChargePoint) -> None:
    # A database may keep the members of JSON in an order of its own.
    payload = {"data": "d", "messageId": "m", "vendorId": "v"}
    command = new_command(charge_point, action="DataTransfer", payload=payload)
    shown = unescape(text_of(operator.get(url("stations_command_change", command.pk))))
    assert shown.index('"vendorId"') < shown.index('"messageId"') < shown.index('"data"')
    panel = unescape(text_of(operator.get(url("stations_chargepoint_panel", charge_point.pk, "commands"))))
    assert '{"vendorId":"v","messageId":"m","data":"d"}' in panel


def test_secret_that_waits_to_be_sent_is_masked_everywhere(operator: Client, charge_point: ChargePoint) -> None:
    payload = {"key": "AuthorizationKey", "value": "30313233343536373839414243444546"}
    command = new_command(charge_point, action="ChangeConfiguration", payload=payload)
    pages = [
        url("stations_command_change", command.pk),
        url("stations_command_changelist"),
        url("stations_chargepoint_panel", charge_point.pk, "commands"),
        url("index"),
    ]
    for page in pages:
        shown = text_of(operator.get(page))
        assert payload["value"] not in shown
        assert "ChangeConfiguration" in shown


def test_queued_command_is_withdrawn_once(operator: Client, charge_point: ChargePoint) -> None:
    command = new_command(charge_point)
    assert "Withdraw" in text_of(operator.get(url("stations_command_change", command.pk)))
    for expected in ("The command is withdrawn.", "It was too late"):
        response = submit(operator, "stations_command_withdraw", command.pk)
        assert expected in text_of(operator.get(response["HX-Redirect"]))
    command.refresh_from_db()
    assert command.status == CommandStatus.WITHDRAWN
    assert ">Withdraw<" not in text_of(operator.get(url("stations_command_change", command.pk)))


def test_list_finds_by_identity_status_action_and_batch(operator: Client, charge_point: ChargePoint) -> None:
    other = new_charge_point("OTHER-2")
    batch = CommandBatch.objects.create(action="Reset", requested_by="otto", created_at=timezone.now())
    first = new_command(charge_point, batch=batch)
    second = new_command(other, action="ClearCache", payload={}, status=CommandStatus.EXPIRED)
    queries: list[tuple[dict[str, Any], list[Command]]] = [
        ({}, [second, first]),
        ({"q": "other"}, [second]),
        ({"q": "nowhere"}, []),
        ({"status__exact": "expired"}, [second]),
        ({"action": "Reset"}, [first]),
        ({"batch": batch.pk}, [first]),
        ({"charge_point": other.pk}, [second]),
        ({"charge_point": "x"}, []),
    ]
    for query, found in queries:
        changelist = operator.get(url("stations_command_changelist"), query).context["cl"]
        assert list(changelist.result_list) == found, query


# --- many charge points -------------------------------------------------------------------------------------------
def test_one_request_to_many_leaves_disabled_ones_out(operator: Client, charge_point: ChargePoint) -> None:
    others = [new_charge_point("CP-2", connected=False), new_charge_point("CP-3", disabled=True)]
    page = url("stations_chargepoint_changelist")
    chosen = {"action": "reset_many", "_selected_action": [each.pk for each in (charge_point, *others)]}

    asked = text_of(operator.post(page, chosen))
    assert "Reset: 3 charge points" in asked
    assert "1 of them not connected" in asked
    assert not Command.objects.exists()

    response = operator.post(page, {**chosen, "_form_submitted": "on", "type": "Hard"})
    batch = CommandBatch.objects.get()
    assert response["Location"] == f"{url('stations_command_changelist')}?batch={batch.pk}"
    commands = Command.objects.filter(batch=batch)
    assert {command.charge_point.identity for command in commands} == {"CP-1", "CP-2"}
    assert {(command.action, str(command.payload), command.requested_by) for command in commands} == {
        ("Reset", "{'type': 'Hard'}", "otto")
    }
    assert "1 disabled charge points were left out." in text_of(operator.get(response["Location"]))


def test_request_to_many_that_breaks_the_schema_is_asked_again(operator: Client, charge_point: ChargePoint) -> None:
    data = {"action": "change_configuration_many", "_selected_action": [charge_point.pk], "_form_submitted": "on"}
    response = operator.post(url("stations_chargepoint_changelist"), {**data, "key": "k" * 51, "value": "1"})
    assert "key is longer than 50 characters." in text_of(response)
    assert not Command.objects.exists()
