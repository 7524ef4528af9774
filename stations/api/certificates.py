"""`certificate-authorities/` and `root-certificates/`: who vouches for charge points, which roots they can be given.

A private key is made here and never comes out.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db.models import ProtectedError
from django.urls import reverse
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from stations.api import schemas
from stations.api.filters import boolean, choice
from stations.certificates import authorities, pem, roots
from stations.models import CertificateAuthority, RootCertificate
from stations.models.certificate import AuthorityKind, CertificateFacts, CertificateType, KeyType, SignatureScheme
from tenants.api.fields import Boolean, Integer, Text
from tenants.api.permissions import caller_name
from tenants.api.problems import Problem, bad_request
from tenants.api.views import StrictSerializer, TenantAPIView

MAX_PEM, MAX_CRL = 60_000, 4_000_000
# What an operator may change of an authority.
CHANGEABLE = (
    "name", "active", "signs_requests", "organization", "validity_days", "check_common_name", "check_organization",
    "renew_days_before",
)  # fmt: skip
EXAMPLES = [
    OpenApiExample(
        "A root of ours that signs what charge points ask for",
        {"name": "Depot", "kind": "issuing", "key_type": "rsa_2048", "signs_requests": True},
        request_only=True,
    ),
    OpenApiExample(
        "The root of a manufacturer",
        {"name": "Factory", "kind": "trusted", "certificate": "-----BEGIN CERTIFICATE-----\n..."},
        request_only=True,
    ),
]


class AuthoritySettings(StrictSerializer):
    """What can be set of an authority."""

    name = Text(max_length=64)
    active = Boolean(required=False, help_text="Off: no certificate of it lets a charge point in any more.")
    signs_requests = Boolean(required=False, help_text="Requests go to this one; the one before hands over.")
    organization = Text(max_length=64, required=False, allow_blank=True)
    validity_days = Integer(min_value=1, max_value=3650, required=False)
    check_common_name = Boolean(required=False)
    check_organization = Boolean(required=False)
    renew_days_before = Integer(min_value=0, max_value=3650, required=False, allow_null=True)


class AuthorityWrite(AuthoritySettings):
    """A new authority: with a key of ours (`issuing`), or the certificate of somebody else's."""

    kind = serializers.ChoiceField(choices=AuthorityKind.values)
    key_type = serializers.ChoiceField(choices=KeyType.values, required=False, help_text="Of an issuing one.")
    signature_scheme = serializers.ChoiceField(choices=SignatureScheme.values, required=False)
    parent = Integer(min_value=1, required=False, help_text="The issuing root above an intermediate.")
    certificate = Text(max_length=MAX_PEM, required=False, help_text="PEM, of an external or trusted one.")

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        issuing = values["kind"] == AuthorityKind.ISSUING
        for name, wanted in (("key_type", issuing), ("certificate", not issuing)):
            if wanted != (name in values):
                text = "This is needed." if wanted else "This does not go with the kind."
                raise serializers.ValidationError(
                    {name: serializers.ErrorDetail(text, code="required" if wanted else "not_allowed")}
                )
        for name in ("signature_scheme", "parent"):
            if name in values and not issuing:
                raise serializers.ValidationError(
                    {name: serializers.ErrorDetail("This does not go with the kind.", code="not_allowed")}
                )
        return values


class CrlWrite(StrictSerializer):
    crl = Text(max_length=MAX_CRL, help_text="PEM.")


class RootWrite(StrictSerializer):
    """A root certificate for charge points. What cannot be read is kept as it is."""

    name = Text(max_length=100)
    certificate_type = serializers.ChoiceField(choices=CertificateType.values)
    certificate = Text(max_length=MAX_PEM, help_text="PEM.")


def facts_json(row: CertificateFacts) -> dict[str, Any]:
    return {
        "subject": row.subject,
        "issuer": row.issuer,
        "serial_number": row.serial_number,
        "fingerprint": row.fingerprint,
        "key": row.key,
        "not_before": row.not_before,
        "not_after": row.not_after,
    }


def authority_json(row: CertificateAuthority) -> dict[str, Any]:
    return {
        "id": row.pk,
        "name": row.name,
        "kind": row.kind,
        "parent": row.parent_id,
        "key_type": row.key_type or None,
        "signature_scheme": row.signature_scheme or None,
        "active": row.active,
        "signs_requests": row.signs_requests,
        "organization": row.organization,
        "validity_days": row.validity_days,
        "check_common_name": row.check_common_name,
        "check_organization": row.check_organization,
        "renew_days_before": row.renew_days_before,
        "certificate": row.certificate,
        **facts_json(row),
        "crl_updated_at": row.crl_updated_at,
        "crl_next_update": row.crl_next_update,
        "created_by": row.created_by,
        "created_at": row.created_at,
    }


def root_json(row: RootCertificate) -> dict[str, Any]:
    return {
        "id": row.pk,
        "name": row.name,
        "certificate_type": row.certificate_type,
        "certificate": row.certificate,
        **facts_json(row),
        "created_by": row.created_by,
        "created_at": row.created_at,
    }


def refused(error: authorities.AuthorityRefused | roots.RootRefused) -> Problem:
    if error.member:
        return bad_request(f"/{error.member}", error.detail, error.code)
    return Problem(409, error.code, error.detail)


class OfAllSites(TenantAPIView):
    """What concerns every site of the tenant; changed only by those who are limited to none."""

    def check_every_site(self) -> None:
        if self.site_ids() is not None:
            raise Problem(403, "site_not_allowed", "Authorities and root certificates concern every site.")


# --- authorities ------------------------------------------------------------------------------------------------------
class _Authorities(OfAllSites):
    def one(self, pk: int) -> CertificateAuthority:
        row = CertificateAuthority.objects.filter(pk=pk).first()
        if row is None:
            raise Problem(404, "not_found", "There is no such certificate authority.")
        return row


class CertificateAuthorityList(_Authorities):
    query_parameters = frozenset({"kind", "active"})
    paginated = True

    @extend_schema(
        operation_id="certificate_authorities_list",
        summary="Certificate authorities, newest first",
        parameters=[
            OpenApiParameter("kind", schemas.enum(*AuthorityKind.values), description="The kind of authority."),
            *schemas.query("active"),
        ],
        responses={200: schemas.page_of(schemas.CERTIFICATE_AUTHORITY)},
    )
    def get(self, request: Request) -> Response:
        rows: Any = choice(request, CertificateAuthority.objects.all(), "kind", AuthorityKind.values)
        return self.page(boolean(request, rows, "active"), authority_json)

    @extend_schema(
        operation_id="certificate_authorities_create",
        summary="Make an authority with a key of ours, or trust somebody else's",
        request=AuthorityWrite,
        responses={201: schemas.CERTIFICATE_AUTHORITY},
        examples=EXAMPLES,
    )
    def post(self, request: Request) -> Response:
        self.check_every_site()
        body = self.validated(AuthorityWrite)
        now, name, kind, parent = datetime.now(UTC), body.pop("name"), body.pop("kind"), None
        if "parent" in body:
            parent = CertificateAuthority.objects.filter(pk=body.pop("parent")).first()
            if parent is None:
                raise bad_request("/parent", "There is no such certificate authority.", "not_found")
        try:
            if kind == AuthorityKind.ISSUING:
                row = authorities.create_issuing(name, caller_name(request), now, parent=parent, **body)
            else:
                row = authorities.import_authority(name, caller_name(request), now, kind=kind, **body)
        except authorities.AuthorityRefused as error:
            raise refused(error) from None
        self.audit("create", row)
        return self.created(authority_json(row), reverse("api:certificate-authority", args=[row.pk]))


class CertificateAuthorityDetail(_Authorities):
    @extend_schema(
        operation_id="certificate_authorities_read",
        summary="One certificate authority, with its certificate",
        responses={200: schemas.CERTIFICATE_AUTHORITY},
    )
    def get(self, request: Request, pk: int) -> Response:
        return Response(authority_json(self.one(pk)))

    @extend_schema(
        operation_id="certificate_authorities_change",
        summary="Change settings of an authority",
        request=AuthoritySettings,
        responses={200: schemas.CERTIFICATE_AUTHORITY},
    )
    def patch(self, request: Request, pk: int) -> Response:
        row = self.one(pk)
        self.check_every_site()
        body = self.validated(AuthoritySettings, partial=True)
        changes = {name: [getattr(row, name), value] for name, value in body.items() if getattr(row, name) != value}
        for name, value in body.items():
            setattr(row, name, value)
        try:
            authorities.change(row, set(body))
        except authorities.AuthorityRefused as error:
            raise refused(error) from None
        self.audit("change", row, changes)
        return Response(authority_json(row))

    @extend_schema(
        operation_id="certificate_authorities_delete",
        summary="Delete an authority that has signed nothing",
        responses={204: None},
    )
    def delete(self, request: Request, pk: int) -> Response:
        row = self.one(pk)
        self.check_every_site()
        if row.certificates.exists():
            raise Problem(409, "in_use", "Charge points have certificates of it: switch it off instead.")
        self.audit("delete", row)
        try:
            row.delete()
        except ProtectedError:
            raise Problem(409, "in_use", "Another authority stands below it.") from None
        return Response(status=204)


class CertificateAuthorityCrl(_Authorities):
    @extend_schema(
        operation_id="certificate_authorities_import_crl",
        summary="Import the revocation list of an authority; it takes the place of the one before",
        request=CrlWrite,
        responses={201: schemas.CERTIFICATE_AUTHORITY},
    )
    def post(self, request: Request, pk: int) -> Response:
        row = self.one(pk)
        self.check_every_site()
        try:
            count = authorities.import_revocations(row, self.validated(CrlWrite)["crl"], datetime.now(UTC))
        except authorities.AuthorityRefused as error:
            raise refused(error) from None
        self.audit("import revocation list", row, {"entries": [None, count]})
        return self.created(authority_json(row), reverse("api:certificate-authority", args=[row.pk]))


# --- roots ------------------------------------------------------------------------------------------------------------
class RootCertificateList(OfAllSites):
    query_parameters = frozenset({"certificate_type"})
    paginated = True

    @extend_schema(
        operation_id="root_certificates_list",
        summary="Root certificates that charge points can be given, newest first",
        parameters=[schemas.CERTIFICATE_TYPE_QUERY],
        responses={200: schemas.page_of(schemas.ROOT_CERTIFICATE)},
    )
    def get(self, request: Request) -> Response:
        rows = choice(request, RootCertificate.objects.all(), "certificate_type", CertificateType.values)
        return self.page(rows, root_json)

    @extend_schema(
        operation_id="root_certificates_create",
        summary="Keep a root certificate for charge points",
        request=RootWrite,
        responses={201: schemas.ROOT_CERTIFICATE},
    )
    def post(self, request: Request) -> Response:
        self.check_every_site()
        body = self.validated(RootWrite)
        if "\x00" in pem.with_plain_line_ends(body["certificate"]):
            raise bad_request("/certificate", "A text must not contain U+0000.", "null_character")
        try:
            row = roots.add(
                body["name"], body["certificate_type"], body["certificate"], caller_name(request), datetime.now(UTC)
            )
        except roots.RootRefused as error:
            raise refused(error) from None
        self.audit("create", row)
        return self.created(root_json(row), reverse("api:root-certificate", args=[row.pk]))


class RootCertificateDetail(OfAllSites):
    def one(self, pk: int) -> RootCertificate:
        row = RootCertificate.objects.filter(pk=pk).first()
        if row is None:
            raise Problem(404, "not_found", "There is no such root certificate.")
        return row

    @extend_schema(
        operation_id="root_certificates_read",
        summary="One root certificate",
        responses={200: schemas.ROOT_CERTIFICATE},
    )
    def get(self, request: Request, pk: int) -> Response:
        return Response(root_json(self.one(pk)))

    @extend_schema(
        operation_id="root_certificates_delete",
        summary="Forget a root certificate; charge points keep it",
        responses={204: None},
    )
    def delete(self, request: Request, pk: int) -> Response:
        row = self.one(pk)
        self.check_every_site()
        self.audit("delete", row)
        row.delete()
        return Response(status=204)
