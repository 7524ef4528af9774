"""Paths of the charge points' API.

An identity may contain a slash, sent as %2F. Django sees the path decoded, where `A%2Fcommands/` and `A/commands/` are
the same; where the server hands the path as it was sent (ASGI does), that decides.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any
from urllib.parse import unquote

from django.http import HttpRequest, HttpResponseBase
from django.urls import path

from stations.api import (
    attention,
    certificates,
    charge_point_certificates,
    charge_points,
    charging_profiles,
    commands,
    composite_schedule,
    connectors,
    credentials,
    diagnostics,
    firmware,
    id_tags,
    local_auth_lists,
    log_requests,
    logs,
    refused_id_tags,
    reservations,
    security_events,
    transactions,
    vendor_messages,
)
from tenants.api.requests import raw_path

View = Callable[..., HttpResponseBase]

OF_CHARGE_POINT: dict[str, View] = {
    "": charge_points.ChargePointDetail.as_view(),
    "certificate-renewal": charge_point_certificates.CertificateRenewal.as_view(),
    "commands": commands.ChargePointCommandList.as_view(),
    "composite-schedule": composite_schedule.CompositeSchedule.as_view(),
    "configuration": connectors.ConfigurationList.as_view(),
    "connection-attempts": logs.ChargePointConnectionAttemptList.as_view(),
    "connectors": connectors.ConnectorList.as_view(),
    "data-transfers": vendor_messages.ChargePointDataTransferList.as_view(),
    "installed-certificates": charge_point_certificates.InstalledCertificateList.as_view(),
    "installed-profiles": charging_profiles.InstalledProfileList.as_view(),
    "meter-values": transactions.ChargePointMeterValueList.as_view(),
    "messages": logs.MessageList.as_view(),
    "password": credentials.PasswordRotation.as_view(),
    "security-profile": credentials.SecurityProfileChange.as_view(),
}

OF_LOCAL_AUTH_LIST: dict[str, View] = {
    "": local_auth_lists.LocalAuthListDetail.as_view(),
    "entries": local_auth_lists.LocalAuthListEntries.as_view(),
    "sync": local_auth_lists.LocalAuthListSync.as_view(),
}


def by_raw_path(view: View, of: str = "charge-points", parts: dict[str, View] = OF_CHARGE_POINT) -> View:
    """`view`, unless the path as it was sent names another part of another charge point."""

    def dispatch(request: HttpRequest, identity: str) -> HttpResponseBase:
        sent = raw_path(request).partition(f"/{of}/")[2].split("/")
        part = sent[1] if len(sent) == 3 else ""
        if len(sent) in (2, 3) and sent[-1] == "" and part in parts and "%2f" in sent[0].lower():
            return parts[part](request, identity=unquote(sent[0]))
        return view(request, identity=identity)

    # The attributes of the view, which tell DRF and the OpenAPI document what it is.
    wrapped: Any = update_wrapper(dispatch, view)
    return wrapped


urlpatterns = [
    path("attention/", attention.AttentionList.as_view()),
    path("certificate-authorities/", certificates.CertificateAuthorityList.as_view()),
    path(
        "certificate-authorities/<int:pk>/",
        certificates.CertificateAuthorityDetail.as_view(),
        name="certificate-authority",
    ),
    path("certificate-authorities/<int:pk>/crl/", certificates.CertificateAuthorityCrl.as_view()),
    path("certificate-requests/", charge_point_certificates.CertificateRequestList.as_view()),
    path("certificate-requests/<int:pk>/", charge_point_certificates.CertificateRequestDetail.as_view()),
    path("certificates/", charge_point_certificates.CertificateList.as_view()),
    path("certificates/<int:pk>/", charge_point_certificates.CertificateDetail.as_view(), name="certificate"),
    path("charge-points/", charge_points.ChargePointList.as_view()),
    *(
        path(f"charge-points/<path:identity>/{part}/", by_raw_path(view))
        for part, view in OF_CHARGE_POINT.items()
        if part
    ),
    path("charge-points/<path:identity>/", by_raw_path(OF_CHARGE_POINT[""])),
    path("charging-profiles/", charging_profiles.ChargingProfileList.as_view()),
    path("charging-profiles/<int:pk>/", charging_profiles.ChargingProfileDetail.as_view()),
    path("commands/", commands.CommandList.as_view(), name="commands"),
    path("commands/bulk/", commands.CommandBulk.as_view()),
    path("commands/<int:pk>/", commands.CommandDetail.as_view(), name="command"),
    path("connection-attempts/", logs.ConnectionAttemptList.as_view()),
    path("data-transfers/", vendor_messages.DataTransferList.as_view()),
    path("diagnostics/", diagnostics.DiagnosticsList.as_view()),
    path("diagnostics/<int:pk>/", diagnostics.DiagnosticsDetail.as_view(), name="diagnostics"),
    path("diagnostics/<int:pk>/file/", diagnostics.DiagnosticsFile.as_view()),
    path("firmware-images/", firmware.FirmwareImageList.as_view()),
    path("firmware-images/<int:pk>/", firmware.FirmwareImageDetail.as_view(), name="firmware-image"),
    path("firmware-images/<int:pk>/file/", firmware.FirmwareImageFile.as_view()),
    path("firmware-updates/", firmware.FirmwareUpdateList.as_view()),
    path("firmware-updates/<int:pk>/", firmware.FirmwareUpdateDetail.as_view(), name="firmware-update"),
    path("id-tags/", id_tags.IdTagList.as_view()),
    path("id-tags/<path:id_tag>/", id_tags.IdTagDetail.as_view()),
    path("local-auth-lists/", local_auth_lists.LocalAuthListList.as_view()),
    *(
        path(f"local-auth-lists/<path:identity>/{part}/", by_raw_path(view, "local-auth-lists", OF_LOCAL_AUTH_LIST))
        for part, view in OF_LOCAL_AUTH_LIST.items()
        if part
    ),
    path(
        "local-auth-lists/<path:identity>/",
        by_raw_path(OF_LOCAL_AUTH_LIST[""], "local-auth-lists", OF_LOCAL_AUTH_LIST),
    ),
    path("logs/", log_requests.LogList.as_view()),
    path("logs/<int:pk>/", log_requests.LogDetail.as_view(), name="log"),
    path("logs/<int:pk>/file/", log_requests.LogFile.as_view()),
    path("refused-id-tags/", refused_id_tags.RefusedIdTagList.as_view()),
    path("refused-id-tags/<int:pk>/", refused_id_tags.RefusedIdTagDetail.as_view()),
    path("refused-id-tags/<int:pk>/add/", refused_id_tags.RefusedIdTagAdd.as_view()),
    path("refused-id-tags/<int:pk>/alias/", refused_id_tags.RefusedIdTagAlias.as_view()),
    path("reservations/", reservations.ReservationList.as_view()),
    path("reservations/<int:pk>/", reservations.ReservationDetail.as_view(), name="reservation"),
    path("root-certificates/", certificates.RootCertificateList.as_view()),
    path("root-certificates/<int:pk>/", certificates.RootCertificateDetail.as_view(), name="root-certificate"),
    path("security-events/", security_events.SecurityEventList.as_view()),
    path("security-events/acknowledge/", security_events.SecurityEventAcknowledgeAll.as_view()),
    path("security-events/<int:pk>/", security_events.SecurityEventDetail.as_view()),
    path("security-events/<int:pk>/acknowledge/", security_events.SecurityEventAcknowledge.as_view()),
    path("transactions/", transactions.TransactionList.as_view()),
    path("transactions/<int:pk>/", transactions.TransactionDetail.as_view()),
    path("transactions/<int:pk>/close/", transactions.TransactionClose.as_view()),
    path("transactions/<int:pk>/meter-values/", transactions.TransactionMeterValueList.as_view()),
    path("vendor-extensions/", vendor_messages.VendorExtensionList.as_view()),
    path("vendor-extensions/<int:pk>/", vendor_messages.VendorExtensionDetail.as_view(), name="vendor-extension"),
]
