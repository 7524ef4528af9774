"""`security-events/`: what charge points and we ourselves noticed, and who has acknowledged it."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from stations import security_events
from stations.api import schemas
from stations.api.filters import boolean, charge_point_filter, choice, flag, instant
from stations.api.firmware import charge_point_named
from stations.api.visibility import at_sites_of
from stations.models import SecurityEvent
from stations.models.security_event import EventSource
from tenants.api.fields import Text
from tenants.api.permissions import caller_name
from tenants.api.problems import Problem
from tenants.api.views import StrictSerializer, TenantAPIView
from tenants.models import ApiScope

PARAMETERS = [
    OpenApiParameter(name, schema, description=description)
    for name, schema, description in (
        ("type", schemas.TEXT, "The type, in any letter case."),
        ("critical", schemas.BOOLEAN, "Only critical, or only other ones."),
        ("alert", schemas.BOOLEAN, "Only critical ones that nobody has acknowledged, or only the others."),
        ("source", schemas.enum(*EventSource.values), "Who noticed it."),
    )
]


class AcknowledgeWrite(StrictSerializer):
    """Which alerts: those of one charge point."""

    charge_point = Text(max_length=48)


class Nothing(StrictSerializer):
    """A body without members."""


def event_json(event: SecurityEvent) -> dict[str, Any]:
    """The resource; `event` comes with its charge point."""
    return {
        "id": event.pk,
        "charge_point": None if event.charge_point is None else event.charge_point.identity,
        "source": event.source,
        "type": event.type,
        "tech_info": event.tech_info,
        "critical": event.critical,
        "alert": event.is_alert,
        "timestamp": event.timestamp,
        "received_at": event.received_at,
        "identity": event.identity,
        "address": event.address,
        "times": event.times,
        "last_at": event.last_at,
        "acknowledged_at": event.acknowledged_at,
        "acknowledged_by": event.acknowledged_by,
    }


class _SecurityEvents(TenantAPIView):
    write_scope = ApiScope.OPERATE

    def rows(self) -> QuerySet[SecurityEvent]:
        # Of identities that nobody registered, those see who see every site.
        return at_sites_of(self, SecurityEvent.objects.select_related("charge_point"), "charge_point__site_id")

    def one(self, pk: int) -> SecurityEvent:
        event = self.rows().filter(pk=pk).first()
        if event is None:
            raise Problem(404, "not_found", "There is no such security event.")
        return event


class SecurityEventList(_SecurityEvents):
    query_parameters = frozenset({"charge_point", "type", "critical", "alert", "source", "since", "until"})
    paginated = True

    @extend_schema(
        operation_id="security_events_list",
        summary="Security events, newest first",
        parameters=[*schemas.query("charge_point", "since", "until"), *PARAMETERS],
        responses={200: schemas.page_of(schemas.SECURITY_EVENT)},
    )
    def get(self, request: Request) -> Response:
        rows: Any = charge_point_filter(request, self.rows())
        if "type" in request.query_params:
            rows = rows.filter(type__iexact=request.query_params["type"])
        rows = boolean(request, rows, "critical")
        alert = flag(request, "alert")
        if alert is not None:
            alerts = {"critical": True, "acknowledged_at__isnull": True}
            rows = rows.filter(**alerts) if alert else rows.exclude(**alerts)
        rows = choice(request, rows, "source", EventSource.values)
        rows = instant(request, rows, "since", "received_at__gte")
        rows = instant(request, rows, "until", "received_at__lt")
        return self.page(rows, event_json)


class SecurityEventDetail(_SecurityEvents):
    @extend_schema(
        operation_id="security_events_read", summary="One security event", responses={200: schemas.SECURITY_EVENT}
    )
    def get(self, request: Request, pk: int) -> Response:
        return Response(event_json(self.one(pk)))


class SecurityEventAcknowledge(_SecurityEvents):
    @extend_schema(
        operation_id="security_events_acknowledge",
        summary="Acknowledge one alert; what is none, or was acknowledged before, stays as it is",
        request=Nothing,
        responses={200: schemas.SECURITY_EVENT},
    )
    def post(self, request: Request, pk: int) -> Response:
        self.validated(Nothing)
        event = self.one(pk)
        security_events.acknowledge(SecurityEvent.objects.filter(pk=event.pk), caller_name(request))
        return Response(event_json(self.one(pk)))


class SecurityEventAcknowledgeAll(_SecurityEvents):
    @extend_schema(
        operation_id="security_events_acknowledge_all",
        summary="Acknowledge every alert of one charge point",
        request=AcknowledgeWrite,
        responses={200: schemas.ACKNOWLEDGED},
    )
    def post(self, request: Request) -> Response:
        charge_point = charge_point_named(self, self.validated(AcknowledgeWrite)["charge_point"])
        rows = self.rows().filter(charge_point=charge_point)
        return Response({"acknowledged": security_events.acknowledge(rows, caller_name(request))})
