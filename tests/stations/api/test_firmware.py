"""`firmware-images/`, `firmware-updates/` and `diagnostics/`: what goes in, and what comes out."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from stations.models import Command, FileUrl, FirmwareImage, FirmwareUpdate, LogRequest
from tenants.models import ApiKey, AuditEntry, Site
from tenants.scope import tenant_scope
from tests.stations.api.conftest import Owner

pytestmark = pytest.mark.django_db

CONTENT = b"firmware" * 1000
RETRIEVE = "2026-03-01T12:00:00.500Z"


def send(owner: Owner, content: bytes = CONTENT, *, headers: Any = None, **fields: Any) -> Any:
    """Upload an image as a program does."""
    fields = {"file": SimpleUploadedFile("fw.bin", content)} | fields
    key = {"Authorization": f"Api-Key {owner.api.key}"} | (headers or {})
    return Client(raise_request_exception=False).post("/api/v1/firmware-images/", fields, headers=key)


def payload_of(row: dict[str, Any]) -> dict[str, Any]:
    """The request that was queued, as it goes on the wire."""
    payload: dict[str, Any] = Command.objects.get(pk=row["command"]).payload
    return payload


class TestImages:
    def test_upload_with_what_is_said_of_it(self, a: Owner) -> None:
        response = send(a, name="x/AC-2.1.bin", version="2.1", vendor="ACME", model="One", signature="c2ln")
        image = response.json()
        assert (response.status_code, response["Location"]) == (
            201, f"http://testserver/api/v1/firmware-images/{image['id']}/",
        )  # fmt: skip
        shown = {name: image[name] for name in ("name", "version", "vendor", "model", "size", "sha256", "signature")}
        assert shown == {
            "name": "AC-2.1.bin", "version": "2.1", "vendor": "ACME", "model": "One", "size": 8000,
            "sha256": hashlib.sha256(CONTENT).hexdigest(), "signature": "c2ln",
        }  # fmt: skip
        assert a.api("GET", f"firmware-images/{image['id']}/").json() == image
        assert a.api("GET", "firmware-images/").json()["results"] == [image]
        with tenant_scope(a.tenant):
            assert AuditEntry.objects.filter(action="create", object_type="stations.firmwareimage").count() == 1

    def test_download_is_an_attachment(self, a: Owner) -> None:
        pk = send(a).json()["id"]
        response = a.api("GET", f"firmware-images/{pk}/file/")
        assert (response["Content-Disposition"], response["Content-Length"]) == (
            'attachment; filename="fw.bin"',
            "8000",
        )
        assert response["X-Content-Type-Options"] == "nosniff"

    @pytest.mark.parametrize(
        ("fields", "pointer"),
        [
            ({"file": ""}, "/file"), ({"colour": "red"}, "/colour"), ({"version": "x" * 51}, "/version"),
            ({"file": SimpleUploadedFile("empty", b"")}, "/file"), ({"version": ["1", "2"]}, "/version"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_pointed_at(self, a: Owner, fields: Any, pointer: str) -> None:
        response = send(a, **fields)
        assert response.status_code == 400
        assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
        with tenant_scope(a.tenant):
            assert not FirmwareImage.objects.exists()

    def test_too_large_a_file_is_413(self, a: Owner, settings: Any) -> None:
        settings.CSMS_IMAGE_LIMIT_BYTES = 7999
        response = send(a)
        assert (response.status_code, response.json()["code"]) == (413, "file_too_large")

    def test_json_is_415(self, a: Owner) -> None:
        assert a.api("POST", "firmware-images/", {"name": "x"}).status_code == 415

    def test_broken_multipart_is_400(self, a: Owner) -> None:
        response = Client(raise_request_exception=False).post(
            "/api/v1/firmware-images/", b"no boundary", content_type="multipart/form-data",
            headers={"Authorization": f"Api-Key {a.api.key}"},
        )  # fmt: skip
        assert (response.status_code, response.json()["code"]) == (400, "invalid_multipart")

    def test_repeated_upload_with_one_idempotency_key_is_one_image(self, a: Owner) -> None:
        headers = {"Idempotency-Key": "one"}
        first, again = (send(a, headers=headers) for _ in range(2))
        assert first.json() == again.json()
        assert send(a, b"other", headers=headers).status_code == 422

    def test_operator_key_and_site_key_do_not_upload(self, a: Owner) -> None:
        _, a.api.key = ApiKey.issue(a.tenant, "operator", ["read", "operate"])
        assert send(a).status_code == 403
        row, a.api.key = ApiKey.issue(a.tenant, "site", ["read", "operate", "manage"])
        with tenant_scope(a.tenant):
            row.sites.set(Site.objects.all())
        assert send(a).json()["code"] == "site_not_allowed"

    def test_deleted_unless_an_update_needs_it(self, a: Owner) -> None:
        pk = send(a, version="2").json()["id"]
        update = a.api("POST", "firmware-updates/", {"charge_point": "SAME", "image": pk}).json()
        refused = a.api("DELETE", f"firmware-images/{pk}/")
        assert (refused.status_code, refused.json()["code"]) == (409, "image_in_use")
        a.api("DELETE", f"commands/{update['command']}/")
        assert a.api("DELETE", f"firmware-images/{pk}/").status_code == 204
        seen = a.api("GET", f"firmware-updates/{update['id']}/").json()
        assert (seen["status"], seen["final"], seen["image"], seen["version"]) == ("NotSent", True, None, "2")


class TestUpdates:
    def test_location_goes_out_as_given_and_is_shown_masked(self, a: Owner) -> None:
        location = "ftp://u:pass%20word@H.example:21/a%2Fb/"
        body = {"charge_point": "SAME", "location": location, "retrieve_date": RETRIEVE, "retries": 0}
        response = a.api("POST", "firmware-updates/", body)
        row = response.json()
        assert response.status_code == 202
        assert response["Location"].endswith(f"/firmware-updates/{row['id']}/")
        with tenant_scope(a.tenant):
            assert payload_of(row) == {"location": location, "retries": 0, "retrieveDate": RETRIEVE}
        assert row["location"] == "ftp://u:***@H.example:21/a%2Fb/"
        assert (row["status"], row["final"], row["retry_interval"], row["statuses"]) == ("Requested", False, None, [])
        assert "pass%20word" not in a.api("GET", "commands/").content.decode()
        assert a.api("GET", f"firmware-updates/{row['id']}/").json() == row

    def test_image_gets_a_url_whose_token_is_nowhere_to_be_read(self, a: Owner) -> None:
        pk = send(a, vendor="Other").json()["id"]
        with tenant_scope(a.tenant):
            type(a.charge_point).objects.update(vendor="ACME")
        row = a.api("POST", "firmware-updates/", {"charge_point": "SAME", "image": pk, "retry_interval": 5}).json()
        with tenant_scope(a.tenant):
            payload = payload_of(row)
            assert FileUrl.objects.get().firmware_update_id == row["id"]
        assert set(payload) == {"location", "retrieveDate", "retryInterval"}
        assert row["location"] == "http://127.0.0.1:8000/files/***/fw.bin"
        assert [warning["code"] for warning in row["warnings"]] == ["charge_point_offline", "other_hardware"]
        token = payload["location"].split("/")[4]
        for path in ("commands/", "firmware-updates/", f"commands/{row['command']}/"):
            assert token not in a.api("GET", path).content.decode()

    def test_bare_command_makes_the_same_rows(self, a: Owner) -> None:
        for action, payload in (
            ("UpdateFirmware", {"location": "ftp://h/", "retrieveDate": RETRIEVE}),
            ("GetDiagnostics", {"location": "ftp://h/"}),
        ):
            body = {"action": action, "payload": payload}
            assert a.api("POST", "charge-points/SAME/commands/", body).status_code == 202
        body = {"action": "GetDiagnostics", "payload": {"location": "ftp://h/"}, "charge_points": ["SAME"]}
        assert a.api("POST", "commands/bulk/", body).status_code == 202
        (update,) = a.api("GET", "firmware-updates/?charge_point=SAME").json()["results"]
        assert (update["location"], update["retrieve_date"]) == ("ftp://h/", RETRIEVE)
        assert len(a.api("GET", "diagnostics/?charge_point=SAME").json()["results"]) == 2

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"location": "no uri"}, "/location"), ({"image": 999}, "/image"), ({"location": "ftp://h/", "x": 1}, "/x"),
            ({"location": "ftp://h/", "retries": -1}, "/retries"), ({"location": 5}, "/location"),
            ({"location": "ftp://h/", "retrieve_date": "now"}, "/retrieve_date"), ({}, ""),
            ({"location": "ftp://h/", "image": 1}, ""),
            ({"location": "ftp://h/", "charge_point": "X"}, "/charge_point"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_pointed_at(self, a: Owner, body: Any, pointer: str) -> None:
        response = a.api("POST", "firmware-updates/", {"charge_point": "SAME"} | body)
        assert response.status_code == 400
        assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
        with tenant_scope(a.tenant):
            assert not FirmwareUpdate.objects.exists()


class TestDiagnostics:
    def test_to_us_when_there_is_no_location(self, a: Owner) -> None:
        row = a.api("POST", "diagnostics/", {"charge_point": "SAME", "start_time": RETRIEVE}).json()
        with tenant_scope(a.tenant):
            payload = payload_of(row)
        assert list(payload) == ["location", "startTime"]
        assert (row["to_us"], row["location"], row["file"]) == (True, "http://127.0.0.1:8000/files/***/", None)
        assert payload["startTime"] == RETRIEVE

    def test_to_a_location_as_given(self, a: Owner) -> None:
        body = {"charge_point": "SAME", "location": "ftp://u:p@h/", "retries": 1, "retry_interval": 2}
        row = a.api("POST", "diagnostics/", body).json()
        with tenant_scope(a.tenant):
            assert payload_of(row) == {"location": "ftp://u:p@h/", "retries": 1, "retryInterval": 2}
        assert (row["to_us"], row["location"], row["url_expires_at"]) == (False, "ftp://u:***@h/", None)

    def test_no_file_is_404(self, a: Owner) -> None:
        row = a.api("POST", "diagnostics/", {"charge_point": "SAME"}).json()
        assert a.api("GET", f"diagnostics/{row['id']}/file/").status_code == 404
        with tenant_scope(a.tenant):
            assert LogRequest.objects.get().pk == row["id"]

    def test_disabled_charge_point_is_409(self, a: Owner) -> None:
        a.api("PATCH", "charge-points/SAME/", {"disabled": True})
        response = a.api("POST", "diagnostics/", {"charge_point": "SAME"})
        assert (response.status_code, response.json()["code"]) == (409, "charge_point_disabled")
