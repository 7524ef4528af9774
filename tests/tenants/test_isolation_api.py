"""Every route of the API, walked as tenant B at what is tenant A's: it does not exist, and nothing of it changes.

Both tenants have a charge point, an id tag and a site of the same name; what only A has is asked for by B.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.urls import get_resolver
from django.urls.resolvers import URLPattern, URLResolver
from django.utils import timezone

from billing.models import Tariff, TariffVersion
from stations.models import (
    Certificate,
    CertificateAuthority,
    CertificateRequest,
    ChargePoint,
    ChargingProfile,
    Command,
    CommandBatch,
    ConfigurationKey,
    ConnectionAttempt,
    Connector,
    FirmwareImage,
    FirmwareUpdate,
    IdTag,
    InstalledCertificate,
    InstalledProfile,
    LocalAuthList,
    LocalAuthListEntry,
    LogRequest,
    MeterValue,
    OcppMessage,
    RefusedIdTag,
    Reservation,
    RootCertificate,
    SecurityEvent,
    Transaction,
    UploadedFile,
    VendorExtension,
    VendorMessage,
)
from tenants.models import ApiKey, AuditEntry, IdempotencyRecord, Site
from tenants.scope import current_scope, platform_scope, tenant_scope
from tenants.scoped import TenantModel
from tests.stations.api.conftest import ALL_SCOPES, NOW, Api

pytestmark = pytest.mark.django_db

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
COMMAND = {"action": "ClearCache"}
# Route: the names of what only A has, and bodies by method. Every route must be here or in LISTS.
OBJECTS: dict[str, dict[str, Any]] = {
    "certificate-authorities/<int:pk>/": {"PATCH": {"active": False}},
    "certificate-authorities/<int:pk>/crl/": {"POST": {"crl": "x"}},
    "certificate-requests/<int:pk>/": {},
    "certificates/<int:pk>/": {},
    "charge-points/<path:identity>/certificate-renewal/": {"POST": {}},
    "charge-points/<path:identity>/installed-certificates/": {
        "POST": {"certificate_type": "ManufacturerRootCertificate", "certificate": "x"}
    },
    "root-certificates/<int:pk>/": {},
    "tariffs/<str:code>/": {"PUT": None},
    "tariffs/<str:code>/versions/": {},
    "tariffs/<str:code>/versions/<int:number>/": {},
    "charge-points/<path:identity>/": {"PUT": None, "PATCH": {"description": "b was here"}},
    "charge-points/<path:identity>/commands/": {"POST": COMMAND},
    "charge-points/<path:identity>/composite-schedule/": {},
    "charge-points/<path:identity>/configuration/": {},
    "charge-points/<path:identity>/connection-attempts/": {},
    "charge-points/<path:identity>/connectors/": {},
    "charge-points/<path:identity>/data-transfers/": {},
    "charge-points/<path:identity>/installed-profiles/": {},
    "charge-points/<path:identity>/messages/": {},
    "charge-points/<path:identity>/meter-values/": {},
    "charge-points/<path:identity>/password/": {"POST": {}},
    "charge-points/<path:identity>/security-profile/": {"POST": {"security_profile": 2}},
    "charging-profiles/<int:pk>/": {},
    "commands/<int:pk>/": {},
    "diagnostics/<int:pk>/": {},
    "diagnostics/<int:pk>/file/": {},
    "firmware-images/<int:pk>/": {},
    "firmware-images/<int:pk>/file/": {},
    "firmware-updates/<int:pk>/": {},
    "id-tags/<path:id_tag>/": {"PUT": None, "PATCH": {"description": "b was here"}},
    "logs/<int:pk>/": {},
    "logs/<int:pk>/file/": {},
    "refused-id-tags/<int:pk>/": {},
    "refused-id-tags/<int:pk>/add/": {"POST": {}},
    "refused-id-tags/<int:pk>/alias/": {"POST": {"id_tag": "SAME"}},
    "reservations/<int:pk>/": {},
    "security-events/<int:pk>/": {},
    "security-events/<int:pk>/acknowledge/": {"POST": {}},
    "local-auth-lists/<path:identity>/": {},
    "local-auth-lists/<path:identity>/entries/": {},
    "local-auth-lists/<path:identity>/sync/": {"POST": {}},
    "transactions/<int:pk>/": {},
    "transactions/<int:pk>/close/": {"POST": {}},
    "transactions/<int:pk>/meter-values/": {},
    "sites/<str:slug>/": {"PUT": None, "PATCH": {"name": "b was here"}},
    "vendor-extensions/<int:pk>/": {"PATCH": {"description": "b was here"}},
    "api-keys/<int:pk>/": {},
}
LISTS = (
    "attention/",
    "certificate-authorities/", "certificate-requests/", "certificates/", "root-certificates/",
    "local-auth-lists/", "diagnostics/", "logs/", "security-events/", "security-events/acknowledge/",
    "firmware-images/", "firmware-updates/",
    "charge-points/", "charging-profiles/", "commands/", "commands/bulk/", "connection-attempts/", "id-tags/",
    "data-transfers/", "refused-id-tags/", "vendor-extensions/",
    "reservations/", "transactions/", "sites/", "api-keys/", "tariffs/", "tariffs/preview/",
)  # fmt: skip
ONLY_POST = ("tariffs/preview/", "commands/bulk/", "security-events/acknowledge/")
MARK = "mark-of-{}"
PRICES = {"currency": "EUR", "elements": [{"price_components": [{"type": "FLAT", "price": "1"}]}]}
CHARGING_PROFILE = {
    "stackLevel": 1,
    "chargingProfilePurpose": "TxDefaultProfile",
    "chargingProfileKind": "Relative",
    "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6.0}]},
}


class Side:
    """A tenant with one of everything, every text marked with its slug, and names that the other has too."""

    def __init__(self, tenant: Any) -> None:
        self.tenant = tenant
        self.mark = MARK.format(tenant.slug)
        row, key = ApiKey.issue(tenant, self.mark, ALL_SCOPES)
        self.api = Api(key)
        with tenant_scope(tenant):
            site = Site.objects.create(slug="depot", name=self.mark)
            Site.objects.create(slug=f"only-{tenant.slug}", name=self.mark)
            charge_point = ChargePoint.objects.create(identity="SAME", site=site, description=self.mark)
            alone = ChargePoint.objects.create(identity=f"ONLY-{tenant.slug}", site=site, description=self.mark)
            for point in (charge_point, alone):
                Connector.objects.create(charge_point=point, connector_id=1, status="Available", info=self.mark)
                ConfigurationKey.objects.create(charge_point=point, key="K", value=self.mark)
                ConnectionAttempt.objects.create(
                    charge_point=point, identity=point.identity, at=NOW, accepted=False, http_status=401,
                    user_agent=self.mark,
                )  # fmt: skip
                OcppMessage.objects.create(
                    charge_point=point, incoming=True, message_type=2, action="DataTransfer", message_id="1",
                    payload=json.dumps({"data": self.mark}), received_at=NOW,
                )  # fmt: skip
            IdTag.objects.create(id_tag="SAME", description=self.mark)
            IdTag.objects.create(id_tag=f"ONLY-{tenant.slug}", description=self.mark)
            for point in (charge_point, alone):
                local_list = LocalAuthList.objects.create(charge_point=point, outcome=self.mark)
                LocalAuthListEntry.objects.create(
                    local_auth_list=local_list, id_tag=self.mark, key=self.mark, info={}, fingerprint=1
                )
            tx = Transaction.objects.create(
                charge_point=alone, connector_id=1, id_tag=self.mark, id_tag_key=self.mark.upper(), started_at=NOW,
                started_received_at=NOW, meter_start_wh=0,
            )  # fmt: skip
            MeterValue.objects.create(
                charge_point=alone, connector_id=1, transaction=tx, timestamp=NOW, received_at=NOW,
                sampled_value=[{"value": self.mark}], digest=1,
            )  # fmt: skip
            profile = ChargingProfile.objects.create(description=self.mark, profile=CHARGING_PROFILE)
            InstalledProfile.objects.create(
                charge_point=alone, connector_id=1, charging_profile_id=profile.pk, library=profile,
                profile=profile.as_sent, purpose="TxDefaultProfile", stack_level=1, installed_at=NOW,
            )  # fmt: skip
            batch = CommandBatch.objects.create(action="Reset", requested_by=self.mark, created_at=NOW)
            command = Command.objects.create(
                charge_point=alone, action="Reset", payload={"type": "Soft"}, requested_by=self.mark, created_at=NOW,
                expires_at=NOW, batch=batch,
            )  # fmt: skip
            files = ContentFile(b"content", name="same")
            image = FirmwareImage(tenant=tenant, name=self.mark, size=7, sha256="", created_by=self.mark)
            image.file.save("same", files)
            update = FirmwareUpdate.objects.create(
                charge_point=alone, location="ftp://h/", version=self.mark, created_at=NOW
            )
            request = LogRequest.objects.create(
                charge_point=alone, location="ftp://h/", file_name=self.mark, created_at=NOW
            )
            upload = UploadedFile(
                tenant=tenant, charge_point=alone, log_request=request, name=self.mark, size=7, received_at=NOW
            )
            upload.file.save("same", files)
            log = LogRequest.objects.create(
                charge_point=alone, location="ftp://h/", file_name=self.mark, log_type="SecurityLog", created_at=NOW
            )
            log_file = UploadedFile(
                tenant=tenant, charge_point=alone, log_request=log, name=self.mark, size=7, received_at=NOW
            )
            log_file.file.save("same", files)
            event = SecurityEvent.objects.create(
                charge_point=alone, source="charge_point", type=self.mark, critical=True, timestamp=NOW,
                received_at=NOW, last_at=NOW, digest=self.mark,
            )  # fmt: skip
            number = Reservation.objects.new_id()
            reservation = Reservation.objects.create(
                charge_point=alone, reservation_id=number, connector_id=1, id_tag=self.mark,
                id_tag_key=self.mark.upper(), expiry_date=NOW, requested_by=self.mark, requested_at=NOW,
            )  # fmt: skip
            authority = CertificateAuthority.objects.create(
                name=self.mark, kind="trusted", certificate="", created_at=NOW
            )
            waiting = CertificateRequest.objects.create(
                charge_point=alone, csr="", subject=self.mark, state="waiting", received_at=NOW
            )
            certificate = Certificate.objects.create(
                charge_point=alone, origin="issued", chain="", subject=self.mark, created_at=NOW
            )
            root = RootCertificate.objects.create(
                name=self.mark, certificate_type="ManufacturerRootCertificate", certificate="", created_at=NOW
            )
            InstalledCertificate.objects.create(
                charge_point=alone, certificate_type="ManufacturerRootCertificate", key="1", subject=self.mark
            )
            tariff = Tariff.objects.create(code=f"only-{tenant.slug}")
            TariffVersion.objects.create(tariff=tariff, number=1, name=self.mark, data=PRICES)
            refused = RefusedIdTag.objects.create(
                charge_point=alone, id_tag="CARD", key="CARD", status="Invalid", reason="unknown", action=self.mark,
                times=1, first_at=NOW, last_at=NOW,
            )  # fmt: skip
            lately = timezone.now()
            RefusedIdTag.objects.create(
                charge_point=alone, id_tag=self.mark, key=self.mark, status="Invalid", reason="unknown",
                action=self.mark, times=1, first_at=lately, last_at=lately,
            )  # fmt: skip
            extension = VendorExtension.objects.create(vendor_id="com.same", description=self.mark)
            VendorMessage.objects.create(
                charge_point=alone, vendor_id="com.same", data=self.mark, status="Accepted", received_at=NOW
            )
        self.names = {
            "tariffs": tariff.code,
            "refused-id-tags": refused.pk, "vendor-extensions": extension.pk,
            "certificate-authorities": authority.pk, "certificate-requests": waiting.pk, "certificates": certificate.pk,
            "root-certificates": root.pk,
            "local-auth-lists": alone.identity, "diagnostics": request.pk, "firmware-images": image.pk,
            "firmware-updates": update.pk, "logs": log.pk, "security-events": event.pk,
            "charge-points": alone.identity, "id-tags": f"ONLY-{tenant.slug}", "sites": f"only-{tenant.slug}",
            "charging-profiles": profile.pk, "commands": command.pk, "transactions": tx.pk, "api-keys": row.pk,
            "reservations": reservation.reservation_id,
        }  # fmt: skip

    def path_of(self, route: str) -> str:
        """`route` with the name of what only this tenant has."""
        head, _, tail = route.partition("<")
        rest = re.sub(r"<int:\w+>", "1", tail.partition(">")[2])
        return f"{head}{self.names[head.strip('/')]}{rest}"


@pytest.fixture
def sides(tenants: Any) -> tuple[Side, Side]:
    return Side(tenants.tenant_a), Side(tenants.tenant_b)


@pytest.fixture(autouse=True)
def _no_rate_limit_left_over() -> None:
    cache.clear()


def routes() -> set[str]:
    """Every route below /api/v1/ that the product serves."""
    (api,) = [found for found in get_resolver().url_patterns if str(found.pattern) == "api/v1/"]
    assert isinstance(api, URLResolver)
    return {str(route.pattern) for route in api.url_patterns if isinstance(route, URLPattern)}


def rows_of(tenant: Any) -> dict[str, list[Any]]:
    """Everything in the database that is this tenant's."""
    with platform_scope():
        return {
            model._meta.label: list(model.objects.filter(tenant=tenant).order_by("pk").values())
            for model in apps.get_models()
            # A key notes when it was used.
            if issubclass(model, TenantModel) and model is not ApiKey
        }


def test_every_route_is_walked() -> None:
    assert routes() == {*OBJECTS, *LISTS}


# A PUT makes an object of B's own: below.
WALKED = [
    (route, method)
    for route, method in itertools.product(OBJECTS, METHODS)
    if not (method == "PUT" and "PUT" in OBJECTS[route])
]


@pytest.mark.parametrize(("route", "method"), WALKED)
def test_what_is_another_tenants_does_not_exist(sides: tuple[Side, Side], route: str, method: str) -> None:
    a, b = sides
    before = rows_of(a.tenant)
    body = OBJECTS[route].get(method)
    response = b.api(method, a.path_of(route), body)
    assert a.mark not in response.content.decode()
    assert rows_of(a.tenant) == before
    # The same request by A finds it, or the path does not understand the method at all.
    by_owner = a.api(method, a.path_of(route), body)
    assert by_owner.status_code != 404
    assert response.status_code == (405 if by_owner.status_code == 405 else 404)


@pytest.mark.parametrize("route", [route for route, bodies in OBJECTS.items() if "PUT" in bodies])
def test_put_with_a_name_of_another_tenant_makes_an_object_of_ones_own(sides: tuple[Side, Side], route: str) -> None:
    a, b = sides
    before = rows_of(a.tenant)
    path = a.path_of(route)
    bodies = {"sites/": {"slug": a.names["sites"], "name": "B"}, "tariffs/": PRICES}
    body = next((body for head, body in bodies.items() if route.startswith(head)), {})
    response = b.api("PUT", path, body)
    assert response.status_code == 201
    assert a.mark not in response.content.decode()
    assert rows_of(a.tenant) == before
    assert b.api("GET", path).json() != a.api("GET", path).json()


@pytest.mark.parametrize("path", [path for path in LISTS if path not in ONLY_POST])
def test_lists_and_counts_hold_the_own_tenants_only(sides: tuple[Side, Side], path: str) -> None:
    a, b = sides
    for own, other in ((a, b), (b, a)):
        found = own.api("GET", f"{path}?count=true")
        assert found.json()["count"] == len(found.json()["results"]) > 0
        assert own.mark in found.content.decode()
        assert other.mark not in found.content.decode()


def filters_that_name_the_other(a: Side) -> Iterator[str]:
    yield f"transactions/?charge_point={a.names['charge-points']}"
    yield f"transactions/?id_tag={a.mark}"
    yield f"transactions/?site={a.names['sites']}"
    yield f"charge-points/?site={a.names['sites']}"
    yield f"commands/?charge_point={a.names['charge-points']}"
    yield f"certificates/?charge_point={a.names['charge-points']}"
    yield f"certificate-requests/?charge_point={a.names['charge-points']}"
    yield f"diagnostics/?charge_point={a.names['charge-points']}"
    yield f"firmware-updates/?charge_point={a.names['charge-points']}"
    yield f"logs/?charge_point={a.names['charge-points']}"
    yield f"security-events/?charge_point={a.names['charge-points']}"
    yield f"security-events/?type={a.mark}"
    yield f"reservations/?charge_point={a.names['charge-points']}"
    yield f"reservations/?id_tag={a.mark}"
    yield f"connection-attempts/?identity={a.names['charge-points']}"


def test_filters_cannot_reach_over(sides: tuple[Side, Side]) -> None:
    a, b = sides
    for path in filters_that_name_the_other(a):
        assert b.api("GET", path).json()["results"] == []
    with tenant_scope(a.tenant):
        batch = CommandBatch.objects.get().pk
    assert b.api("GET", f"commands/?batch={batch}").json()["results"] == []
    assert len(a.api("GET", f"commands/?batch={batch}").json()["results"]) == 1


@pytest.mark.parametrize("path", ["charge-points/", "id-tags/", "sites/"])
def test_cursor_of_another_tenant_gives_the_own_rows(sides: tuple[Side, Side], path: str) -> None:
    a, b = sides
    cursor = b.api("GET", f"{path}?page_size=1").json()["next"].rpartition("cursor=")[2]
    found = a.api("GET", f"{path}?cursor={cursor}").content.decode()
    assert b.mark not in found


BODIES_WITH_REFERENCES = (
    ("PUT", "local-auth-lists/SAME/", {"source": {"sites": ["only-alpha"]}}),
    ("PUT", "local-auth-lists/SAME/", {"source": {"id_tags": ["ONLY-alpha"]}}),
    ("POST", "local-auth-lists/", {"charge_points": ["ONLY-alpha"], "source": None}),
    ("PUT", "charge-points/NEW/", {"site": "only-alpha"}),
    ("POST", "diagnostics/", {"charge_point": "ONLY-alpha"}),
    ("POST", "logs/", {"charge_point": "ONLY-alpha", "log_type": "SecurityLog"}),
    ("POST", "security-events/acknowledge/", {"charge_point": "ONLY-alpha"}),
    ("POST", "firmware-updates/", {"charge_point": "ONLY-alpha", "location": "ftp://h/"}),
    ("PATCH", "charge-points/SAME/", {"site": "only-alpha"}),
    ("PUT", "id-tags/NEW/", {"sites": ["only-alpha"]}),
    ("POST", "api-keys/", {"name": "x", "scopes": ["read"], "sites": ["only-alpha"]}),
    ("POST", "commands/bulk/", {**COMMAND, "charge_points": ["SAME", "ONLY-alpha"]}),
    (
        "POST",
        "reservations/",
        {"charge_point": "ONLY-alpha", "connector_id": 1, "id_tag": "SAME", "expiry_date": "2030-01-01T00:00:00Z"},
    ),
)


@pytest.mark.parametrize(("method", "path", "body"), BODIES_WITH_REFERENCES)
def test_body_cannot_refer_to_what_is_another_tenants(
    sides: tuple[Side, Side], method: str, path: str, body: Any
) -> None:
    a, b = sides
    before = rows_of(a.tenant)
    response = b.api(method, path, body)
    assert response.status_code == 400
    assert a.mark not in response.content.decode()
    assert rows_of(a.tenant) == before


@pytest.mark.parametrize("wanted", [{}, {"site": "depot"}, {"site": "only-alpha"}, {"connected": False}])
def test_bulk_by_filter_stays_in_the_own_tenant(sides: tuple[Side, Side], wanted: Any) -> None:
    a, b = sides
    before = rows_of(a.tenant)
    sent = b.api("POST", "commands/bulk/", {**COMMAND, "filter": wanted}).json()["commands"]
    assert {command["charge_point"] for command in sent} <= {"SAME", "ONLY-beta"}
    assert rows_of(a.tenant) == before


def test_same_names_stay_apart_when_written(sides: tuple[Side, Side]) -> None:
    a, b = sides
    before = rows_of(a.tenant)
    assert b.api("PATCH", "charge-points/SAME/", {"disabled": True}).status_code == 200
    assert b.api("PUT", "id-tags/same/", {"status": "Blocked"}).status_code == 200
    assert b.api("PATCH", "sites/depot/", {"name": "B"}).status_code == 200
    assert b.api("DELETE", "id-tags/SAME/").status_code == 204
    assert rows_of(a.tenant) == before


def test_idempotency_keys_do_not_meet(sides: tuple[Side, Side]) -> None:
    a, b = sides
    answers = [
        side.api("POST", "charge-points/SAME/commands/", COMMAND, **{"Idempotency-Key": "one"}) for side in sides
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["id"] != answers[1].json()["id"]
    for side in (a, b):
        with tenant_scope(side.tenant):
            assert IdempotencyRecord.objects.count() == 1


def test_audit_entries_are_written_into_the_own_tenant(sides: tuple[Side, Side]) -> None:
    a, b = sides
    b.api("PUT", "charge-points/NEW/", {})
    with tenant_scope(a.tenant):
        assert not AuditEntry.objects.exists()
    with tenant_scope(b.tenant):
        assert AuditEntry.objects.get().object_label == "NEW"


def test_scope_is_closed_after_each_request(sides: tuple[Side, Side]) -> None:
    a, b = sides
    for path in ("charge-points/SAME/", "charge-points/NOBODY/", "charge-points/?nonsense=1"):
        for side in (a, b):
            side.api("GET", path)
            assert current_scope() is None
