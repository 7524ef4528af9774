"""The Remote Trigger profile of OCPP 1.6: TriggerMessage, and the messages that come because of it.

To the charge point: TriggerMessage. The message it asks for comes as any other message of its profile; `triggered` ties
it to the command.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from ocpp.v16 import call_result

from csms.ocppj.times import format_time
from stations.batch import open_batch
from stations.effects import MAY_HAVE_WORKED
from stations.models import ChargePoint, Command, ConfigurationKey
from stations.models.charge_point import RegistrationStatus
from stations.models.command import CommandStatus

# A message that comes later than this after TriggerMessage came by itself.
TRIGGER_WINDOW = timedelta(minutes=2)
# Messages that say which connector they are about: without connectorId a trigger asks for all of them.
OF_A_CONNECTOR = ("MeterValues", "StatusNotification")
TRIGGERS = ("TriggerMessage", "ExtendedTriggerMessage")
# Messages that ExtendedTriggerMessage calls by another name (Improved security for OCPP 1.6-J, MessageTriggerEnumType).
EXTENDED_NAMES = {
    "FirmwareStatusNotification": "SignedFirmwareStatusNotification",
    "SignChargePointCertificate": "SignCertificate",
}


def awaited_action(trigger: str, payload: dict[str, Any]) -> str:
    """The action of the message that a trigger (one of TRIGGERS, with its payload) asks for."""
    message = str(payload.get("requestedMessage", ""))
    return EXTENDED_NAMES.get(message, message) if trigger == "ExtendedTriggerMessage" else message


def trigger_message_warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> list[tuple[str, str]]:
    """What is unwise about a TriggerMessage.req; nothing of it keeps the message from being sent.

    Source: OCPP 1.6 ed. 2, 5.17; errata v4.0 3.35, 3.40.
    """
    found = trigger_warnings(charge_point, payload)
    row = ConfigurationKey.objects.filter(charge_point=charge_point, key="SupportedFeatureProfiles", known=True).first()
    if row is not None and row.value is not None and "remotetrigger" not in row.value.lower():
        found.append(("profile_not_supported", "The charge point does not report the profile RemoteTrigger."))
    return found


def trigger_warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> list[tuple[str, str]]:
    """What is unwise about either trigger."""
    found = []
    if (
        payload["requestedMessage"] == "BootNotification"
        and charge_point.registration_status == RegistrationStatus.ACCEPTED
        and charge_point.booted_at is not None
    ):
        found.append(
            (
                "boot_already_accepted",
                "The charge point has booted and is Accepted: BootNotification is not to be triggered before its "
                "next boot, and it may refuse.",
            )
        )
    if payload.get("connectorId") is not None and payload["requestedMessage"] not in OF_A_CONNECTOR:
        found.append(("connector_without_meaning", f"{payload['requestedMessage']} is not about a connector."))
    elif payload.get("connectorId") == 0:
        found.append(
            (
                "connector_zero",
                "The field table of the standard wants a connectorId above 0, its prose asks for 0: the charge point "
                "may refuse.",
            )
        )
    return found


def trigger_message_conf(command: Command, conf: call_result.TriggerMessage, now: datetime) -> None:
    """TriggerMessage.conf comes before the message itself, which `triggered` ties to the command.

    Rejected and NotImplemented: no message follows, and nothing waits for one. Source: OCPP 1.6 ed. 2, 5.17.
    """


def triggered(charge_point: ChargePoint, action: str, req: Any, message_id: str, now: datetime) -> bool | None:
    """Whether a message was asked for by one of TRIGGERS; it is then noted in the command's `effect`.

    True: it was. None: not this one, but one may still come. False: nothing more is awaited.
    `effect` is {"messages": [{"action", "message_id", "received_at", "connector_id"?}]}. A trigger with connectorId, or
    for a message about no connector, brings one message; without it every connector may send one. What arrives before
    the charge point's answer came by itself: the answer comes first.
    Source: OCPP 1.6 ed. 2, 5.17.
    """
    connector_id = getattr(req, "connector_id", None) if action in OF_A_CONNECTOR else None
    with open_batch() as batch:
        batch.commands.write()
    sent = Command.objects.filter(
        charge_point=charge_point, action__in=TRIGGERS, sent_at__gte=now - TRIGGER_WINDOW
    ).order_by("id")
    awaited = False
    for command in sent:
        if awaited_action(command.action, command.payload) != action or command.outcome not in MAY_HAVE_WORKED:
            continue
        messages = list((command.effect or {}).get("messages", []))
        if any(message["message_id"] == message_id for message in messages):
            return True
        asked = command.payload.get("connectorId")
        many = asked is None and action in OF_A_CONNECTOR
        if messages and not many:
            continue
        awaited = True
        if command.status == CommandStatus.SENT or (asked is not None and connector_id not in (None, asked)):
            continue
        if any(message.get("connector_id") == connector_id for message in messages):
            continue
        message = {"action": action, "message_id": message_id, "received_at": format_time(now)}
        if connector_id is not None:
            message["connector_id"] = connector_id
        command.effect = {"messages": [*messages, message]}
        command.save(update_fields=["effect"])
        return True
    return None if awaited else False
