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
from stations.ocpp import (
    core,
    firmware_management,
    local_auth_list_management,
    remote_trigger,
    reservation,
    smart_charging,
)
from stations.ocpp.security import certificates, events, logs, triggers
from stations.ocpp.security import firmware as signed_firmware

FROM_CHARGE_POINT: dict[str, Callable[..., Any]] = {
    "Authorize": core.authorize,
    "BootNotification": core.boot_notification,
    "DataTransfer": core.data_transfer,
    "DiagnosticsStatusNotification": firmware_management.diagnostics_status_notification,
    "FirmwareStatusNotification": firmware_management.firmware_status_notification,
    "Heartbeat": core.heartbeat,
    "LogStatusNotification": logs.log_status_notification,
    "MeterValues": core.meter_values,
    "SecurityEventNotification": events.security_event_notification,
    "SignCertificate": certificates.sign_certificate,
    "SignedFirmwareStatusNotification": signed_firmware.signed_firmware_status_notification,
    "StartTransaction": core.start_transaction,
    "StatusNotification": core.status_notification,
    "StopTransaction": core.stop_transaction,
}

TO_CHARGE_POINT: dict[str, Callable[..., None]] = {
    "CancelReservation": reservation.cancel_reservation_conf,
    "CertificateSigned": certificates.certificate_signed_conf,
    "ChangeAvailability": core.change_availability_conf,
    "ChangeConfiguration": core.change_configuration_conf,
    "ClearCache": core.clear_cache_conf,
    "ClearChargingProfile": smart_charging.clear_charging_profile_conf,
    "DataTransfer": core.data_transfer_conf,
    "DeleteCertificate": certificates.delete_certificate_conf,
    "ExtendedTriggerMessage": triggers.extended_trigger_message_conf,
    "GetCompositeSchedule": smart_charging.get_composite_schedule_conf,
    "GetConfiguration": core.get_configuration_conf,
    "GetInstalledCertificateIds": certificates.get_installed_certificate_ids_conf,
    "InstallCertificate": certificates.install_certificate_conf,
    "GetLocalListVersion": local_auth_list_management.get_local_list_version_conf,
    "GetDiagnostics": firmware_management.get_diagnostics_conf,
    "GetLog": logs.get_log_conf,
    "RemoteStartTransaction": core.remote_start_transaction_conf,
    "RemoteStopTransaction": core.remote_stop_transaction_conf,
    "ReserveNow": reservation.reserve_now_conf,
    "Reset": core.reset_conf,
    "SendLocalList": local_auth_list_management.send_local_list_conf,
    "SetChargingProfile": smart_charging.set_charging_profile_conf,
    "SignedUpdateFirmware": signed_firmware.signed_update_firmware_conf,
    "TriggerMessage": remote_trigger.trigger_message_conf,
    "UnlockConnector": core.unlock_connector_conf,
    "UpdateFirmware": firmware_management.update_firmware_conf,
}

COMPLETE: dict[str, Callable[[ChargePoint, dict[str, Any]], dict[str, Any]]] = {
    "SendLocalList": local_auth_list_management.send_local_list_complete,
    "RemoteStartTransaction": core.remote_start_transaction_complete,
    "ReserveNow": reservation.reserve_now_complete,
    "SetChargingProfile": smart_charging.set_charging_profile_complete,
    "GetLog": logs.get_log_complete,
    "SignedUpdateFirmware": signed_firmware.signed_update_firmware_complete,
}

WARNINGS: dict[str, Callable[[ChargePoint, dict[str, Any]], list[tuple[str, str]]]] = {
    "CancelReservation": reservation.cancel_reservation_warnings,
    "CertificateSigned": certificates.certificate_signed_warnings,
    "DeleteCertificate": certificates.delete_certificate_warnings,
    "ExtendedTriggerMessage": triggers.extended_trigger_message_warnings,
    "InstallCertificate": certificates.install_certificate_warnings,
    "ChangeConfiguration": core.change_configuration_warnings,
    "ClearChargingProfile": smart_charging.clear_charging_profile_warnings,
    "GetCompositeSchedule": smart_charging.get_composite_schedule_warnings,
    "GetDiagnostics": firmware_management.get_diagnostics_warnings,
    "GetLog": logs.get_log_warnings,
    "RemoteStartTransaction": core.remote_start_transaction_warnings,
    "ReserveNow": reservation.reserve_now_warnings,
    "SendLocalList": local_auth_list_management.send_local_list_warnings,
    "SetChargingProfile": smart_charging.set_charging_profile_warnings,
    "SignedUpdateFirmware": signed_firmware.signed_update_firmware_warnings,
    "TriggerMessage": remote_trigger.trigger_message_warnings,
    "UpdateFirmware": firmware_management.update_firmware_warnings,
}

QUEUED: dict[str, Callable[[Command], None]] = {
    "CancelReservation": reservation.cancel_reservation_queued,
    "CertificateSigned": certificates.certificate_signed_queued,
    "ChangeConfiguration": core.change_configuration_queued,
    "GetDiagnostics": firmware_management.get_diagnostics_queued,
    "GetLog": logs.get_log_queued,
    "SignedUpdateFirmware": signed_firmware.signed_update_firmware_queued,
    "ReserveNow": reservation.reserve_now_queued,
    "SendLocalList": local_auth_list_management.send_local_list_queued,
    "UpdateFirmware": firmware_management.update_firmware_queued,
}

WITHOUT_ANSWER: dict[str, Callable[[Command, datetime], None]] = {
    "CertificateSigned": certificates.certificate_signed_without_answer,
    "ChangeConfiguration": core.change_configuration_without_answer,
    "GetDiagnostics": firmware_management.get_diagnostics_without_answer,
    "GetLog": logs.get_log_without_answer,
    "SignedUpdateFirmware": signed_firmware.signed_update_firmware_without_answer,
    "ReserveNow": reservation.reserve_now_without_answer,
    "SendLocalList": local_auth_list_management.send_local_list_without_answer,
    "UpdateFirmware": firmware_management.update_firmware_without_answer,
}
