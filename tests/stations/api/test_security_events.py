"""`security-events/`, `logs/` and signed `firmware-updates/`: what goes in, and what comes out."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from stations import security_events
from stations.models import Command, FileUrl, FirmwareUpdate, LogRequest, SecurityEvent
from tenants.models import ApiKey, Site
from tenants.scope import tenant_scope
from tests.stations.api.conftest import NOW, Owner
from tests.stations.signatures import CONTENT, certificate, key_of, sign

pytestmark = pytest.mark.django_db

RETRIEVE = "2026-03-01T12:00:00.500Z"


def event(owner: Owner, event_type: str, *, critical: bool = True, at: Any = NOW, **members: Any) -> SecurityEvent:
    with tenant_scope(owner.tenant):
        members = {"charge_point": owner.charge_point, "source": "charge_point", **members}
        return SecurityEvent.objects.create(
            type=event_type, critical=critical, timestamp=at, received_at=at, last_at=at, digest=event_type, **members
        )


def payload_of(owner: Owner, row: dict[str, Any]) -> dict[str, Any]:
    with tenant_scope(owner.tenant):
        payload: dict[str, Any] = Command.objects.get(pk=row["command"]).payload
    return payload


class TestSecurityEvents:
    def test_list_newest_first_with_everything(self, a: Owner) -> None:
        event(a, "InvalidMessages", critical=False)
        event(a, "ResetOrReboot", tech_info="watchdog")
        newest, oldest = a.api("GET", "security-events/").json()["results"]
        assert oldest["type"] == "InvalidMessages"
        assert newest == {
            "id": newest["id"], "charge_point": "SAME", "source": "charge_point", "type": "ResetOrReboot",
            "tech_info": "watchdog", "critical": True, "alert": True, "timestamp": "2026-03-01T12:00:00.000Z",
            "received_at": "2026-03-01T12:00:00.000Z", "identity": "", "address": "", "times": 1,
            "last_at": "2026-03-01T12:00:00.000Z", "acknowledged_at": None, "acknowledged_by": "",
        }  # fmt: skip
        assert a.api("GET", f"security-events/{newest['id']}/").json() == newest

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("charge_point=SAME", 2), ("charge_point=OTHER", 0), ("type=resetorreboot", 1), ("critical=true", 1),
            ("critical=false", 2), ("alert=true", 1), ("alert=false", 2), ("source=csms", 1),
            ("source=charge_point", 2),
            ("since=2026-03-01T12:00:01Z", 0), ("since=2026-03-01T12:00:00Z", 3), ("until=2026-03-01T12:00:00Z", 0),
        ],
    )  # fmt: skip
    def test_filters(self, a: Owner, query: str, found: int) -> None:
        event(a, "InvalidMessages", critical=False)
        event(a, "ResetOrReboot")
        event(a, "unknown_identity", critical=False, source="csms", charge_point=None, identity="NOBODY")
        assert len(a.api("GET", f"security-events/?{query}").json()["results"]) == found

    @pytest.mark.parametrize("query", ["critical=yes", "source=me", "since=now", "colour=red"])
    def test_bad_filter_is_400(self, a: Owner, query: str) -> None:
        assert a.api("GET", f"security-events/?{query}").status_code == 400

    def test_acknowledge_one(self, a: Owner) -> None:
        pk = event(a, "ResetOrReboot").pk
        event(a, "MemoryExhaustion")
        done = a.api("POST", f"security-events/{pk}/acknowledge/", {}).json()
        assert (done["alert"], done["critical"], done["acknowledged_by"]) == (False, True, "API key test")
        again = a.api("POST", f"security-events/{pk}/acknowledge/", {}).json()
        assert again == done
        assert [row["type"] for row in a.api("GET", "security-events/?alert=true").json()["results"]] == [
            "MemoryExhaustion"
        ]

    def test_acknowledge_all_of_a_charge_point(self, a: Owner) -> None:
        for name in ("ResetOrReboot", "MemoryExhaustion"):
            event(a, name)
        event(a, "contested", charge_point=None, source="csms")
        response = a.api("POST", "security-events/acknowledge/", {"charge_point": "SAME"})
        assert (response.status_code, response.json()) == (200, {"acknowledged": 2})
        assert len(a.api("GET", "security-events/?alert=true").json()["results"]) == 1
        assert a.api("POST", "security-events/acknowledge/", {"charge_point": "NONE"}).status_code == 400

    def test_reading_key_does_not_acknowledge_and_site_key_sees_its_site(self, a: Owner) -> None:
        pk = event(a, "ResetOrReboot").pk
        with tenant_scope(a.tenant):
            security_events.note("unknown_identity", identity="NOBODY")
            elsewhere = Site.objects.create(slug="elsewhere", name="Elsewhere")
        _, a.api.key = ApiKey.issue(a.tenant, "reader", ["read"])
        assert a.api("POST", f"security-events/{pk}/acknowledge/", {}).status_code == 403
        assert len(a.api("GET", "security-events/").json()["results"]) == 2
        row, a.api.key = ApiKey.issue(a.tenant, "site", ["read", "operate"])
        with tenant_scope(a.tenant):
            row.sites.set([a.charge_point.site])
        assert [found["type"] for found in a.api("GET", "security-events/").json()["results"]] == ["ResetOrReboot"]
        with tenant_scope(a.tenant):
            row.sites.set([elsewhere])
        assert a.api("POST", f"security-events/{pk}/acknowledge/", {}).status_code == 404


class TestLogs:
    def test_to_us_when_there_is_no_location(self, a: Owner) -> None:
        response = a.api("POST", "logs/", {"charge_point": "SAME", "log_type": "SecurityLog", "oldest": RETRIEVE})
        row = response.json()
        assert response.status_code == 202
        assert response["Location"].endswith(f"/logs/{row['id']}/")
        payload = payload_of(a, row)
        assert payload["log"].pop("remoteLocation").startswith("http://127.0.0.1:8000/files/u-")
        assert payload == {"log": {"oldestTimestamp": RETRIEVE}, "logType": "SecurityLog", "requestId": 1}
        assert (row["to_us"], row["location"], row["file"]) == (True, "http://127.0.0.1:8000/files/***/", None)
        assert (row["request_id"], row["status"], row["final"], row["latest"]) == (1, "Requested", False, None)
        assert a.api("GET", f"logs/{row['id']}/").json() == row
        assert a.api("GET", f"logs/{row['id']}/file/").status_code == 404
        with tenant_scope(a.tenant):
            assert FileUrl.objects.get().log_request_id == row["id"]

    def test_everything_as_given(self, a: Owner) -> None:
        body = {
            "charge_point": "SAME", "log_type": "DiagnosticsLog", "location": "ftp://u:p@H/a%20b/", "request_id": 0,
            "oldest": RETRIEVE, "latest": "2026-03-02T00:00:00Z", "retries": 0, "retry_interval": 5,
        }  # fmt: skip
        row = a.api("POST", "logs/", body).json()
        assert payload_of(a, row) == {
            "log": {
                "remoteLocation": "ftp://u:p@H/a%20b/", "oldestTimestamp": RETRIEVE,
                "latestTimestamp": "2026-03-02T00:00:00.000Z",
            },
            "logType": "DiagnosticsLog", "requestId": 0, "retries": 0, "retryInterval": 5,
        }  # fmt: skip
        assert (row["location"], row["to_us"], row["url_expires_at"]) == ("ftp://u:***@H/a%20b/", False, None)
        assert "u:p@" not in a.api("GET", "commands/").content.decode()

    def test_logs_and_diagnostics_are_lists_of_their_own(self, a: Owner) -> None:
        log = a.api("POST", "logs/", {"charge_point": "SAME", "log_type": "SecurityLog"}).json()
        diagnostics = a.api("POST", "diagnostics/", {"charge_point": "SAME"}).json()
        assert [row["id"] for row in a.api("GET", "logs/?charge_point=SAME").json()["results"]] == [log["id"]]
        assert [row["id"] for row in a.api("GET", "diagnostics/").json()["results"]] == [diagnostics["id"]]
        assert a.api("GET", f"diagnostics/{log['id']}/").status_code == 404
        assert a.api("GET", f"logs/{diagnostics['id']}/").status_code == 404

    def test_bare_command_makes_the_same_row(self, a: Owner) -> None:
        body = {"action": "GetLog", "payload": {"log": {"remoteLocation": "ftp://h/"}, "logType": "SecurityLog"}}
        assert a.api("POST", "charge-points/SAME/commands/", body).json()["payload"]["requestId"] == 1
        assert a.api("POST", "commands/bulk/", {**body, "charge_points": ["SAME"]}).status_code == 202
        assert [row["request_id"] for row in a.api("GET", "logs/").json()["results"]] == [2, 1]

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"log_type": None}, "/log_type"), ({"log_type": "Other"}, "/log_type"), ({"location": 5}, "/location"),
            ({"location": f"ftp://h/{'x' * 600}"}, "/location"), ({"request_id": 2**31}, "/request_id"),
            ({"oldest": "now"}, "/oldest"), ({"retries": -1}, "/retries"), ({"charge_point": "X"}, "/charge_point"),
            ({"x": 1}, "/x"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_pointed_at(self, a: Owner, body: Any, pointer: str) -> None:
        response = a.api("POST", "logs/", {"charge_point": "SAME", "log_type": "SecurityLog"} | body)
        assert response.status_code == 400
        assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
        with tenant_scope(a.tenant):
            assert not LogRequest.objects.exists()


class TestSignedUpdates:
    def image(self, a: Owner, **members: str) -> int:
        fields = {"file": SimpleUploadedFile("fw.bin", CONTENT), "version": "2.1", **members}
        key = {"Authorization": f"Api-Key {a.api.key}"}
        return int(Client().post("/api/v1/firmware-images/", fields, headers=key).json()["id"])

    def test_image_with_its_signature(self, a: Owner) -> None:
        key = key_of("rsa")
        pem, signature = certificate(key), sign(key)
        image = self.image(a, signature=signature, signing_certificate=pem)
        body = {"charge_point": "SAME", "image": image, "signed": True, "retrieve_date": RETRIEVE}
        row = a.api("POST", "firmware-updates/", body).json()
        payload = payload_of(a, row)
        assert payload["firmware"].pop("location").endswith("/fw.bin")
        assert payload == {
            "requestId": 1,
            "firmware": {"retrieveDateTime": RETRIEVE, "signingCertificate": pem, "signature": signature},
        }
        assert (row["signed"], row["request_id"], row["version"], row["image"]) == (True, 1, "2.1", image)
        assert [warning["code"] for warning in row["warnings"]] == ["charge_point_offline"]

    def test_everything_as_given(self, a: Owner) -> None:
        body = {
            "charge_point": "SAME", "location": "ftp://u:p@h/fw", "signed": True, "signature": "QUJD",
            "signing_certificate": "PEM", "install_date": "2026-03-02T00:00:00Z", "request_id": 7, "retries": 1,
            "retry_interval": 2, "retrieve_date": RETRIEVE,
        }  # fmt: skip
        row = a.api("POST", "firmware-updates/", body).json()
        assert payload_of(a, row) == {
            "retries": 1, "retryInterval": 2, "requestId": 7,
            "firmware": {
                "location": "ftp://u:p@h/fw", "retrieveDateTime": RETRIEVE, "signingCertificate": "PEM",
                "signature": "QUJD", "installDateTime": "2026-03-02T00:00:00.000Z",
            },
        }  # fmt: skip
        assert (row["location"], row["signature"], row["signing_certificate"]) == ("ftp://u:***@h/fw", "QUJD", "PEM")
        assert [warning["code"] for warning in row["warnings"]] == [
            "signing_certificate_unreadable", "charge_point_offline",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"signed": True}, "/signature"), ({"signed": True, "signature": "QUJD"}, "/signing_certificate"),
            ({"signature": "QUJD"}, "/signature"), ({"install_date": RETRIEVE}, "/install_date"),
            ({"signed": True, "signature": "x" * 801, "signing_certificate": "PEM"}, "/signature"),
            ({"signed": True, "signature": "QUJD", "signing_certificate": "PEM", "location": "x" * 600}, "/location"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_pointed_at(self, a: Owner, body: Any, pointer: str) -> None:
        response = a.api("POST", "firmware-updates/", {"charge_point": "SAME", "location": "ftp://h/"} | body)
        assert response.status_code == 400
        assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
        with tenant_scope(a.tenant):
            assert not FirmwareUpdate.objects.exists()
