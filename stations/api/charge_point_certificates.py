"""`certificates/`, `certificate-requests/`, and what is installed at a charge point: all that belongs to one of them.

Deleting a root at a charge point is a command: DeleteCertificate with the hash data that it listed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from stations import commands
from stations.api import schemas
from stations.api.certificates import MAX_PEM, facts_json
from stations.api.commands import REFUSAL_STATUS, command_json
from stations.api.filters import MAX_INT64, choice, chosen, site_filter
from stations.api.visibility import at_sites_of, charge_point_of
from stations.certificates import issuing, roots
from stations.models import Certificate, CertificateRequest, ChargePoint, InstalledCertificate, RootCertificate
from stations.models.certificate import EXPIRED, CertificateState, CertificateType, RequestState
from tenants.api.fields import Integer, Text
from tenants.api.permissions import caller_name
from tenants.api.problems import Problem, bad_request
from tenants.api.views import StrictSerializer, TenantAPIView
from tenants.models import ApiScope

REASON = {"max_length": 500, "required": False, "default": "", "allow_blank": True}
STATES = (*CertificateState.values, EXPIRED)


class ChainWrite(StrictSerializer):
    """What an external issuer made of a charge point's request; CertificateSigned is sent."""

    request = Integer(min_value=1, max_value=MAX_INT64, help_text="The id of the certificate request.")
    chain = Text(max_length=MAX_PEM, help_text="PEM, in any order, with or without the root.")


class InstallWrite(StrictSerializer):
    """A root of the catalogue, or a PEM text of a type."""

    root_certificate = Integer(min_value=1, max_value=MAX_INT64, required=False)
    certificate_type = serializers.ChoiceField(choices=CertificateType.values, required=False)
    certificate = Text(max_length=MAX_PEM, required=False, help_text="PEM; its line ends are made LF.")
    reason = Text(**REASON)

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        by_text = "certificate" in values and "certificate_type" in values
        if ("root_certificate" in values) == by_text:
            raise serializers.ValidationError(
                "Give either root_certificate, or certificate and certificate_type.", code="either_or"
            )
        return values


class RenewalWrite(StrictSerializer):
    reason = Text(**REASON)


def certificate_json(row: Certificate, now: datetime) -> dict[str, Any]:
    return {
        "id": row.pk,
        "charge_point": row.charge_point.identity,
        "state": row.state_at(now),
        "origin": row.origin,
        "authority": row.authority_id,
        "request": row.request_id,
        "command": row.command_id,
        **facts_json(row),
        "chain": row.chain,
        "created_at": row.created_at,
        "sent_at": row.sent_at,
        "answered_at": row.answered_at,
        "first_used_at": row.first_used_at,
        "last_used_at": row.last_used_at,
        "revoked_at": row.revoked_at,
        "revoked_by": row.revoked_by,
        "reason": row.reason,
    }


def request_json(row: CertificateRequest) -> dict[str, Any]:
    certificate = getattr(row, "certificate", None)
    return {
        "id": row.pk,
        "charge_point": row.charge_point.identity,
        "state": row.state,
        "problem": row.problem,
        "authority": row.authority_id,
        "certificate": None if certificate is None else certificate.pk,
        "csr": row.csr,
        "subject": row.subject,
        "key": row.key,
        "received_at": row.received_at,
        "closed_at": row.closed_at,
    }


def installed_json(row: InstalledCertificate) -> dict[str, Any]:
    return {
        "certificate_type": row.certificate_type,
        "certificate_hash_data": row.hash_data,
        "subject": row.subject,
        "not_after": row.not_after,
        "certificate": row.certificate or None,
        "installed_at": row.installed_at,
        "reported_at": row.reported_at,
    }


def refused(error: commands.CommandRefused) -> Problem:
    return Problem(REFUSAL_STATUS.get(error.code, 400), error.code, error.detail)


# --- certificates -----------------------------------------------------------------------------------------------------
class _Certificates(TenantAPIView):
    def rows(self) -> QuerySet[Certificate]:
        return at_sites_of(self, Certificate.objects.select_related("charge_point"), "charge_point__site_id")

    def requests(self) -> QuerySet[CertificateRequest]:
        rows = CertificateRequest.objects.select_related("charge_point__tenant", "certificate")
        return at_sites_of(self, rows, "charge_point__site_id")

    def request_of(self, pk: int) -> CertificateRequest | None:
        return self.requests().filter(pk=pk).first()


class CertificateList(_Certificates):
    query_parameters = frozenset({"charge_point", "state", "site"})
    paginated = True

    @extend_schema(
        operation_id="certificates_list",
        summary="Client certificates of charge points, newest first",
        parameters=[
            *schemas.query("charge_point", "site"),
            OpenApiParameter("state", schemas.enum(*STATES), description="The state of the certificate."),
        ],
        responses={200: schemas.page_of(schemas.CERTIFICATE)},
    )
    def get(self, request: Request) -> Response:
        now = datetime.now(UTC)
        rows: Any = self.rows()
        state = chosen(request, "state", STATES)
        if state is not None:
            rows = rows.in_state(state, now)
        if "charge_point" in request.query_params:
            rows = rows.filter(charge_point__identity=request.query_params["charge_point"])
        return self.page(site_filter(request, rows, "charge_point__site__slug"), lambda row: certificate_json(row, now))

    @extend_schema(
        operation_id="certificates_import",
        summary="Hand out what an external issuer signed: CertificateSigned is sent",
        request=ChainWrite,
        responses={201: schemas.CERTIFICATE},
    )
    def post(self, request: Request) -> Response:
        body, now = self.validated(ChainWrite), datetime.now(UTC)
        asked = self.request_of(body["request"])
        if asked is None:
            raise bad_request("/request", "There is no such certificate request.", "not_found")
        try:
            row = issuing.import_chain(asked, body["chain"], caller_name(request), now)
        except issuing.ChainRefused as error:
            if error.code == "not_open":
                raise Problem(409, error.code, error.detail) from None
            raise bad_request("/chain", error.detail, error.code) from None
        except commands.CommandRefused as error:
            raise refused(error) from None
        self.audit("import", row)
        return self.created(certificate_json(row, now), reverse("api:certificate", args=[row.pk]))


class CertificateDetail(_Certificates):
    def one(self, pk: int) -> Certificate:
        row = self.rows().filter(pk=pk).first() if pk <= MAX_INT64 else None
        if row is None:
            raise Problem(404, "not_found", "There is no such certificate.")
        return row

    @extend_schema(
        operation_id="certificates_read", summary="One client certificate", responses={200: schemas.CERTIFICATE}
    )
    def get(self, request: Request, pk: int) -> Response:
        return Response(certificate_json(self.one(pk), datetime.now(UTC)))

    @extend_schema(
        operation_id="certificates_revoke",
        summary="Revoke a client certificate for good",
        description="No connection is let in with it any more; one that stands is not cut. The record stays.",
        responses={200: schemas.CERTIFICATE},
    )
    def delete(self, request: Request, pk: int) -> Response:
        row, now = self.one(pk), datetime.now(UTC)
        if not issuing.revoke(row, caller_name(request), "", now):
            raise Problem(409, "revoked_already", "The certificate has been revoked already.")
        self.audit("revoke", row)
        return Response(certificate_json(self.one(pk), now))


class CertificateRequestList(_Certificates):
    query_parameters = frozenset({"charge_point", "state", "site"})
    paginated = True

    @extend_schema(
        operation_id="certificate_requests_list",
        summary="Requests of charge points for certificates, newest first",
        parameters=[
            *schemas.query("charge_point", "site"),
            OpenApiParameter("state", schemas.enum(*RequestState.values), description="The state of the request."),
        ],
        responses={200: schemas.page_of(schemas.CERTIFICATE_REQUEST)},
    )
    def get(self, request: Request) -> Response:
        rows = choice(request, self.requests(), "state", RequestState.values)
        if "charge_point" in request.query_params:
            rows = rows.filter(charge_point__identity=request.query_params["charge_point"])
        return self.page(site_filter(request, rows, "charge_point__site__slug"), request_json)


class CertificateRequestDetail(_Certificates):
    def one(self, pk: int) -> CertificateRequest:
        row = self.request_of(pk) if pk <= MAX_INT64 else None
        if row is None:
            raise Problem(404, "not_found", "There is no such certificate request.")
        return row

    @extend_schema(
        operation_id="certificate_requests_read",
        summary="One request, with its PKCS#10 text for an external issuer",
        responses={200: schemas.CERTIFICATE_REQUEST},
    )
    def get(self, request: Request, pk: int) -> Response:
        return Response(request_json(self.one(pk)))

    @extend_schema(
        operation_id="certificate_requests_close",
        summary="Close an open request, when its issuer refused it; the charge point is not told",
        responses={200: schemas.CERTIFICATE_REQUEST},
    )
    def delete(self, request: Request, pk: int) -> Response:
        row = self.one(pk)
        if not issuing.close(row, datetime.now(UTC)):
            raise Problem(409, "not_open", "The request is closed.")
        self.audit("close", row)
        return Response(request_json(self.one(pk)))


# --- at a charge point ------------------------------------------------------------------------------------------------
class InstalledCertificateList(TenantAPIView):
    query_parameters = frozenset({"certificate_type"})
    write_scope = ApiScope.OPERATE
    paginated = True

    @extend_schema(
        operation_id="charge_point_installed_certificates_list",
        summary="Root certificates of a charge point, as it listed them last",
        parameters=[schemas.CERTIFICATE_TYPE_QUERY],
        responses={200: schemas.page_of(schemas.INSTALLED_CERTIFICATE)},
    )
    def get(self, request: Request, identity: str) -> Response:
        rows = InstalledCertificate.objects.filter(charge_point=charge_point_of(self, identity))
        return self.page(choice(request, rows, "certificate_type", CertificateType.values), installed_json)

    @extend_schema(
        operation_id="charge_point_installed_certificates_install",
        summary="Install a root certificate: InstallCertificate is sent",
        request=InstallWrite,
        responses={202: schemas.COMMAND},
    )
    def post(self, request: Request, identity: str) -> Response:
        charge_point = charge_point_of(self, identity)
        body = self.validated(InstallWrite)
        kind, text = body.get("certificate_type", ""), body.get("certificate", "")
        if "root_certificate" in body:
            root = RootCertificate.objects.filter(pk=body["root_certificate"]).first()
            if root is None:
                raise bad_request("/root_certificate", "There is no such root certificate.", "not_found")
            kind, text = root.certificate_type, root.certificate
        try:
            command = roots.install(charge_point, kind, text, caller_name(request), reason=body["reason"])
        except commands.CommandRefused as error:
            raise refused(error) from None
        return self.created(command_json(command), reverse("api:command", args=[command.pk]), status=202)


class CertificateRenewal(TenantAPIView):
    write_scope = ApiScope.OPERATE

    @extend_schema(
        operation_id="charge_point_certificate_renew",
        summary="Ask a charge point to request a new certificate: ExtendedTriggerMessage is sent",
        request=RenewalWrite,
        responses={202: schemas.COMMAND},
    )
    def post(self, request: Request, identity: str) -> Response:
        charge_point: ChargePoint = charge_point_of(self, identity)
        body = self.validated(RenewalWrite)
        try:
            command = issuing.renew(charge_point, caller_name(request), reason=body["reason"])
        except commands.CommandRefused as error:
            raise refused(error) from None
        return self.created(command_json(command), reverse("api:command", args=[command.pk]), status=202)
