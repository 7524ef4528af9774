"""All actions of OCPP 1.6, by direction: look one up here, its function is the value.

FROM_CHARGE_POINT: function(charge_point, req, now) -> confirmation. It runs inside the lane's transaction.
TO_CHARGE_POINT: function(command, conf, now) -> None, called with the charge point's answer to a command of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stations.ocpp import core

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
    "UnlockConnector": core.unlock_connector_conf,
}
