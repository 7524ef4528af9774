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
    charge_points,
    charging_profiles,
    commands,
    composite_schedule,
    connectors,
    diagnostics,
    firmware,
    id_tags,
    local_auth_lists,
    logs,
    reservations,
    transactions,
)
from tenants.api.requests import raw_path

View = Callable[..., HttpResponseBase]

OF_CHARGE_POINT: dict[str, View] = {
    "": charge_points.ChargePointDetail.as_view(),
    "commands": commands.ChargePointCommandList.as_view(),
    "composite-schedule": composite_schedule.CompositeSchedule.as_view(),
    "configuration": connectors.ConfigurationList.as_view(),
    "connection-attempts": logs.ChargePointConnectionAttemptList.as_view(),
    "connectors": connectors.ConnectorList.as_view(),
    "installed-profiles": charging_profiles.InstalledProfileList.as_view(),
    "messages": logs.MessageList.as_view(),
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
    path("reservations/", reservations.ReservationList.as_view()),
    path("reservations/<int:pk>/", reservations.ReservationDetail.as_view(), name="reservation"),
    path("transactions/", transactions.TransactionList.as_view()),
    path("transactions/<int:pk>/", transactions.TransactionDetail.as_view()),
    path("transactions/<int:pk>/close/", transactions.TransactionClose.as_view()),
    path("transactions/<int:pk>/meter-values/", transactions.TransactionMeterValueList.as_view()),
]
