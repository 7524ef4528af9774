"""All actions of OCPP 1.6, by direction: look one up here, its function is the value.

FROM_CHARGE_POINT: function(charge_point, req, now) -> confirmation. It runs inside the lane's transaction.
TO_CHARGE_POINT: function(command, conf, now) -> None, called with the charge point's answer to a command of ours.

Around a command of ours, where its profile has something to say:
COMPLETE: function(charge_point, payload) -> payload, with the ids that we allocate where they were left out. It comes
before the schema is checked, so `payload` may hold anything.
WARNINGS: function(charge_point, payload) -> [(code, sentence)], what is unwise about a valid request.
QUEUED: function(command) -> None, makes the rows that must exist before the charge point answers.
WITHOUT_ANSWER: function(command, now) -> None, the command ended without a confirmation, or with one that says
nothing readable; its status says how.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from stations.models import ChargePoint, Command
from stations.ocpp import core, remote_trigger

FROM_CHARGE_POINT: dict[str, Callable[..., Any]] = {
    "Authorize": core.authorize,
    "BootNotification": core.boot_notification,
    "DataTransfer": core.data_transfer,
    "Heartbeat": core.heartbeat,
    "MeterValues": core.meter_values,
    "StartTransaction": core.start_transaction,
    "StatusNotification": core.status_notification,
    "StopTransaction": core.stop_transaction,
}

TO_CHARGE_POINT: dict[str, Callable[..., None]] = {
    "ChangeAvailability": core.change_availability_conf,
    "ChangeConfiguration": core.change_configuration_conf,
    "ClearCache": core.clear_cache_conf,
    "DataTransfer": core.data_transfer_conf,
    "GetConfiguration": core.get_configuration_conf,
    "RemoteStartTransaction": core.remote_start_transaction_conf,
    "RemoteStopTransaction": core.remote_stop_transaction_conf,
    "Reset": core.reset_conf,
    "TriggerMessage": remote_trigger.trigger_message_conf,
    "UnlockConnector": core.unlock_connector_conf,
}

COMPLETE: dict[str, Callable[[ChargePoint, dict[str, Any]], dict[str, Any]]] = {}

WARNINGS: dict[str, Callable[[ChargePoint, dict[str, Any]], list[tuple[str, str]]]] = {
    "TriggerMessage": remote_trigger.trigger_message_warnings,
}

QUEUED: dict[str, Callable[[Command], None]] = {}

WITHOUT_ANSWER: dict[str, Callable[[Command, datetime], None]] = {}
