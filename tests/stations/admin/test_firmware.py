"""Firmware and diagnostics at the admin: images, dialogs with exact payloads, progress, files to download."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from stations import firmware
from stations.models import ChargePoint, Command, FileUrl, FirmwareImage, FirmwareUpdate, LogRequest, UploadedFile
from stations.ocpp import firmware_management
from tenants.models import Role, Tenant
from tests.stations.admin.people import sign_in, submit, text_of, url
from tests.stations.rows import NOW, new_charge_point

RETRIEVE = {"retrieve_date": "2026-03-01T12:00:30"}
RETRIEVE_WIRE = {"retrieveDate": "2026-03-01T12:00:30.000Z"}


@pytest.fixture
def operator(in_tenant_a: Tenant) -> Client:
    return sign_in(in_tenant_a, Role.OPERATOR, username="otto")


@pytest.fixture
def owner(in_tenant_a: Tenant) -> Client:
    return sign_in(in_tenant_a, username="olga")


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point(vendor="ACME", model="One")


def content_of(response: Any) -> bytes:
    """What a view streams, which it does for an event loop."""

    async def collected() -> bytes:
        return b"".join([chunk async for chunk in response.streaming_content])

    return async_to_sync(collected)()


def new_image(**members: Any) -> FirmwareImage:
    return firmware.add_image(ContentFile(b"content", name="fw.bin"), "olga", **members)


@pytest.mark.parametrize(
    ("dialog", "fields", "payload"),
    [
        (
            "update_firmware",
            {"location": "ftp://h/a%20b/", **RETRIEVE},
            {"location": "ftp://h/a%20b/", **RETRIEVE_WIRE},
        ),
        (
            "update_firmware",
            {"location": "ftp://u:p@h/x", "retries": "0", "retry_interval": "60", **RETRIEVE},
            {"location": "ftp://u:p@h/x", "retries": 0, "retryInterval": 60, **RETRIEVE_WIRE},
        ),
        ("get_diagnostics", {"location": "ftp://u:p@h/x"}, {"location": "ftp://u:p@h/x"}),
        (
            "get_diagnostics",
            {"location": "sftp://h/", "start_time": "2026-03-01T00:00", "stop_time": "2026-03-02T00:00:01"},
            {
                "location": "sftp://h/", "startTime": "2026-03-01T00:00:00.000Z",
                "stopTime": "2026-03-02T00:00:01.000Z",
            },
        ),
        (
            "get_diagnostics",
            {"location": "https://h", "retries": "3", "retry_interval": "1"},
            {"location": "https://h", "retries": 3, "retryInterval": 1},
        ),
    ],
)  # fmt: skip
def test_payload_is_exactly_what_was_filled_in(
    operator: Client, charge_point: ChargePoint, dialog: str, fields: dict[str, str], payload: dict[str, Any]
) -> None:
    response = submit(operator, f"stations_chargepoint_{dialog}", charge_point.pk, **fields)
    command = Command.objects.get()
    assert command.payload == payload
    assert (command.charge_point, command.requested_by) == (charge_point, "otto")
    assert response["HX-Redirect"] == url("stations_command_change", command.pk)
    assert "u:p@" not in text_of(operator.get(url("stations_command_change", command.pk)))


def test_image_of_ours_gets_a_url_of_its_own(operator: Client, charge_point: ChargePoint) -> None:
    image = new_image(version="2.1", vendor="Other")
    submit(operator, "stations_chargepoint_update_firmware", charge_point.pk, image=str(image.pk), **RETRIEVE)
    command = Command.objects.get()
    location = command.payload["location"]
    assert location.startswith("http://127.0.0.1:8000/files/d-")
    assert location.endswith("/fw.bin")
    assert command.payload == {"location": location, **RETRIEVE_WIRE}
    update = FirmwareUpdate.objects.get()
    assert (update.image, update.version, update.command) == (image, "2.1", command)
    assert FileUrl.objects.get().firmware_update == update
    assert [warning["code"] for warning in command.warnings] == ["other_hardware"]
    token = location.split("/")[4]
    for page in (("command", command.pk), ("firmwareupdate", update.pk)):
        assert token not in text_of(operator.get(url(f"stations_{page[0]}_change", page[1])))


def test_diagnostics_without_a_location_come_to_us(operator: Client, charge_point: ChargePoint) -> None:
    submit(operator, "stations_chargepoint_get_diagnostics", charge_point.pk)
    (request,) = LogRequest.objects.all()
    assert request.to_us
    assert list(Command.objects.get().payload) == ["location"]
    assert Command.objects.get().payload["location"].startswith("http://127.0.0.1:8000/files/u-")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        RETRIEVE,
        {"location": "ftp://h/"},
        {"location": "no url", **RETRIEVE},
        {"location": "ftp://h/", "image": "x"},
    ],
)
def test_incomplete_update_is_refused_in_the_dialog(
    operator: Client, charge_point: ChargePoint, fields: dict[str, str]
) -> None:
    response = submit(operator, "stations_chargepoint_update_firmware", charge_point.pk, **fields)
    assert "HX-Redirect" not in response
    assert not Command.objects.exists()


def test_dialogs_open_with_the_present_time_filled_in(operator: Client, charge_point: ChargePoint) -> None:
    image = new_image()
    opened = text_of(operator.get(url("stations_chargepoint_update_firmware", charge_point.pk)))
    assert f'value="{timezone.localtime():%Y-%m-%dT%H:}' in opened
    assert f'<option value="{image.pk}">fw.bin</option>' in opened
    assert "Without a location" in text_of(operator.get(url("stations_chargepoint_get_diagnostics", charge_point.pk)))


def test_image_and_location_exclude_each_other(operator: Client, charge_point: ChargePoint) -> None:
    fields = {"image": str(new_image().pk), "location": "ftp://h/", **RETRIEVE}
    response = submit(operator, "stations_chargepoint_update_firmware", charge_point.pk, **fields)
    assert "not both" in text_of(response)


def test_panel_shows_statuses_with_times_and_the_file(
    operator: Client, charge_point: ChargePoint, settings: Any
) -> None:
    submit(operator, "stations_chargepoint_get_diagnostics", charge_point.pk)
    Command.objects.update(sent_at=NOW)
    for status in ("Uploading", "Uploaded"):
        firmware_management.progress.diagnostics_reported(charge_point, status, timezone.now())
    firmware_management.progress.firmware_reported(charge_point, "Installed", timezone.now())
    request = LogRequest.objects.get()
    upload = UploadedFile(
        tenant_id=charge_point.tenant_id, charge_point=charge_point, log_request=request, name="<diag>.zip", size=5,
        received_at=NOW,
    )  # fmt: skip
    upload.file.save("x", ContentFile(b"bytes"), save=False)
    upload.save()
    page = text_of(operator.get(url("stations_chargepoint_panel", charge_point.pk, "firmware")))
    assert "Uploading" in page
    assert "&lt;diag&gt;.zip" in page
    assert "Reported without a request of ours" in page
    address = url("stations_logrequest_file", request.pk)
    assert address in page
    assert "Uploaded" in text_of(operator.get(url("stations_logrequest_change", request.pk)))
    response: Any = operator.get(address)
    assert content_of(response) == b"bytes"
    assert response["Content-Disposition"].startswith("attachment")
    assert response["X-Content-Type-Options"] == "nosniff"


def test_image_is_uploaded_downloaded_and_deleted_with_its_file(
    owner: Client, charge_point: ChargePoint, django_capture_on_commit_callbacks: Any
) -> None:
    form = {"file": SimpleUploadedFile("..\\up/fw 2.bin", b"firmware"), "version": "2", "name": ""}
    assert owner.post(url("stations_firmwareimage_add"), form).status_code == 302
    image = FirmwareImage.objects.get()
    assert (image.name, image.size, image.created_by) == ("fw 2.bin", 8, "olga")
    assert image.file.name.startswith(f"{image.tenant_id}/firmware/")
    response: Any = owner.get(url("stations_firmwareimage_file", image.pk))
    assert content_of(response) == b"firmware"
    assert owner.get(url("stations_firmwareimage_change", image.pk)).status_code == 200
    storage = image.file.storage
    with django_capture_on_commit_callbacks(execute=True):
        assert owner.post(url("stations_firmwareimage_delete", image.pk), {"post": "yes"}).status_code == 302
    assert not storage.exists(image.file.name)


def test_image_in_use_is_not_deleted(owner: Client, charge_point: ChargePoint) -> None:
    image = new_image()
    firmware.request_update(charge_point, "olga", image=image, retrieve_date=datetime.now(UTC))
    assert owner.post(url("stations_firmwareimage_delete", image.pk), {"post": "yes"}).status_code == 403


def test_too_large_an_image_is_refused(owner: Client, charge_point: ChargePoint, settings: Any) -> None:
    settings.CSMS_IMAGE_LIMIT_BYTES = 4
    response = owner.post(url("stations_firmwareimage_add"), {"file": SimpleUploadedFile("fw", b"12345")})
    assert "The file has more than" in text_of(response)
    assert not FirmwareImage.objects.exists()


def test_operator_does_not_upload_images(operator: Client) -> None:
    assert operator.get(url("stations_firmwareimage_changelist")).status_code == 200
    assert operator.get(url("stations_firmwareimage_add")).status_code == 403
