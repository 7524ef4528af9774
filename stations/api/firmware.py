"""`firmware-images/` and `firmware-updates/`: the files we keep, and who was asked to install them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.db.models import QuerySet
from django.http import HttpResponseBase, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from stations import firmware, signed_firmware
from stations.api import schemas
from stations.api.filters import MAX_INT32
from stations.api.visibility import at_sites_of, charge_points_of
from stations.files.for_people import attachment
from stations.models import ChargePoint, FirmwareImage, FirmwareUpdate
from stations.refusal import CommandRefused
from tenants.api.fields import Boolean, Instant, Integer, Text
from tenants.api.permissions import caller_name
from tenants.api.problems import Problem, bad_request
from tenants.api.views import StrictSerializer, TenantAPIView
from tenants.models import ApiScope

# What a multipart body may have beside the file.
ENVELOPE_BYTES = 64 * 1024
# Members of the OCPP requests, and what they are called here.
MEMBERS = {
    "location": "location",
    "remoteLocation": "location",
    "retrieveDate": "retrieve_date",
    "retrieveDateTime": "retrieve_date",
    "installDateTime": "install_date",
    "signingCertificate": "signing_certificate",
    "requestId": "request_id",
    "logType": "log_type",
    "oldestTimestamp": "oldest",
    "latestTimestamp": "latest",
    "retries": "retries",
    "retryInterval": "retry_interval",
    "startTime": "start_time",
    "stopTime": "stop_time",
}
OF_SIGNED = ("signature", "signing_certificate", "install_date", "request_id")
REFUSAL_STATUS = {"tenant_suspended": 403, "charge_point_disabled": 409}


class ImageWrite(StrictSerializer):
    """What is said of an image, beside the file."""

    name = Text(max_length=100, required=False, default="", allow_blank=True)
    vendor = Text(max_length=50, required=False, default="", allow_blank=True)
    model = Text(max_length=50, required=False, default="", allow_blank=True)
    version = Text(max_length=50, required=False, default="", allow_blank=True)
    description = Text(max_length=200, required=False, default="", allow_blank=True)
    signature = Text(max_length=800, required=False, default="", allow_blank=True)
    signing_certificate = Text(max_length=5500, required=False, default="", allow_blank=True)


class UpdateWrite(StrictSerializer):
    """An UpdateFirmware: an image of ours, or a location exactly as it is to be sent. What is absent is not sent.

    With `signed` a SignedUpdateFirmware: signature and certificate are those of the image unless given.
    """

    charge_point = Text(max_length=48)
    image = Integer(min_value=1, required=False, help_text="The id of a firmware image; it gets a URL of its own.")
    location = Text(max_length=2000, required=False)
    retrieve_date = Instant(required=False, help_text="The earliest time to fetch it; now, when absent.")
    signed = Boolean(required=False, default=False, help_text="SignedUpdateFirmware, of the security extension.")
    signature = Text(max_length=800, required=False, help_text="Base64. Only of a signed update.")
    signing_certificate = Text(max_length=5500, required=False, help_text="PEM. Only of a signed update.")
    install_date = Instant(required=False, help_text="When to install it. Only of a signed update.")
    request_id = Integer(
        min_value=-(2**31),
        max_value=MAX_INT32,
        required=False,
        help_text="Given by us when absent. Only of a signed update.",
    )
    retries = Integer(min_value=0, max_value=MAX_INT32, required=False)
    retry_interval = Integer(min_value=0, max_value=MAX_INT32, required=False, help_text="Seconds.")
    reason = Text(max_length=500, required=False, default="", allow_blank=True)

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        if ("image" in values) == ("location" in values):
            raise serializers.ValidationError("Give either image or location.", code="either_or")
        if not values["signed"]:
            errors = {
                name: serializers.ValidationError("Only a signed update has this.", code="not_signed").detail
                for name in OF_SIGNED
                if name in values
            }
            if errors:
                raise serializers.ValidationError(errors)
        return values


def image_json(image: FirmwareImage) -> dict[str, Any]:
    return {
        "id": image.pk,
        "name": image.name,
        "vendor": image.vendor,
        "model": image.model,
        "version": image.version,
        "description": image.description,
        "size": image.size,
        "sha256": image.sha256,
        "signature": image.signature,
        "signing_certificate": image.signing_certificate,
        "created_by": image.created_by,
        "created_at": image.created_at,
    }


def update_json(update: FirmwareUpdate) -> dict[str, Any]:
    """The resource as lists have it; `update` comes with its charge point, command and URL."""
    url = getattr(update, "url", None)
    return {
        "id": update.pk,
        "charge_point": update.charge_point.identity,
        "image": update.image_id,
        "version": update.version,
        "location": update.location,
        "retrieve_date": update.retrieve_date,
        "retries": update.retries,
        "retry_interval": update.retry_interval_seconds,
        "signed": update.signed,
        "request_id": update.request_id,
        "install_date": update.install_date,
        "signature": update.signature,
        "signing_certificate": update.signing_certificate,
        "status": update.status,
        "status_known": update.status_known,
        "status_at": update.status_at,
        "final": update.is_final,
        "delivered_bytes": None if url is None else url.delivered_bytes,
        "url_expires_at": None if url is None else url.expires_at,
        "command": update.command_id,
        "warnings": [] if update.command is None else update.command.warnings,
        "created_at": update.created_at,
        "answered_at": update.answered_at,
        "finished_at": update.finished_at,
    }


def with_statuses(data: dict[str, Any], statuses: QuerySet[Any]) -> dict[str, Any]:
    """`data` with the statuses as they came, the newest 500 of them, oldest first; repetitions are counted."""
    newest = statuses.order_by("-id").values("status", "received_at", "times", "last_received_at")[:500]
    shown = [each | {"last_received_at": each["last_received_at"] or each["received_at"]} for each in newest]
    return data | {"statuses": shown[::-1]}


def refused(error: CommandRefused) -> Problem:
    """CommandRefused as an answer, with pointers into the body of these resources."""
    errors = []
    for problem in error.problems:
        outer, _, inner = problem.pointer.strip("/").partition("/")
        # The members of GetLog.log and SignedUpdateFirmware.firmware stand by themselves here.
        member = inner.partition("/")[0] if outer in ("log", "firmware") and inner else outer
        pointer = f"/{MEMBERS.get(member, member)}"
        errors.append({"pointer": pointer, "detail": problem.detail, "code": problem.code})
    return Problem(REFUSAL_STATUS.get(error.code, 400), error.code, error.detail, errors=errors)


def charge_point_named(view: TenantAPIView, identity: str) -> ChargePoint:
    """The charge point that a body names; raises 400."""
    found = charge_points_of(view).filter(identity=identity).select_related("tenant").first()
    if found is None:
        raise bad_request("/charge_point", "There is no such charge point.", "not_found")
    return found


# --- images -----------------------------------------------------------------------------------------------------------
class _Images(TenantAPIView):
    def one(self, pk: int) -> FirmwareImage:
        image = FirmwareImage.objects.filter(pk=pk).first()
        if image is None:
            raise Problem(404, "not_found", "There is no such firmware image.")
        return image

    def check_every_site(self) -> None:
        """Raise 403 for a caller limited to some sites: images are for all of them."""
        if self.site_ids() is not None:
            raise Problem(403, "site_not_allowed", "Firmware images concern every site.")


class FirmwareImageList(_Images):
    paginated = True

    def _read_body(self, request: Any) -> None:
        """Leave a file where it is until the caller is known; whatever else comes is read as everywhere."""
        if request.content_type != "multipart/form-data":
            super()._read_body(request)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method == "POST":
            self._parse(request._request)

    def _parse(self, request: Any) -> None:
        """Take the parts of the body; the file stays on disk. Raises 400, 411, 413, 415."""
        if request.content_type != "multipart/form-data":
            raise Problem(415, "unsupported_media_type", "Send the image as multipart/form-data, in the part `file`.")
        length = request.META.get("CONTENT_LENGTH") or ""
        if not length.isdigit():
            raise Problem(411, "length_required", "The request needs a Content-Length.")
        if int(length) > settings.CSMS_IMAGE_LIMIT_BYTES + ENVELOPE_BYTES:
            raise Problem(413, "file_too_large", f"An image has at most {settings.CSMS_IMAGE_LIMIT_BYTES} bytes.")
        try:
            fields, files = request.POST, request.FILES
        except UnreadablePostError:
            raise Problem(400, "body_unreadable", "The body ended early.") from None
        except (MultiPartParserError, SuspiciousOperation):
            raise Problem(400, "invalid_multipart", "The body is not valid multipart/form-data.") from None
        # What an Idempotency-Key compares, in place of a body that is never in memory.
        digest = hashlib.sha256(repr(sorted(fields.lists())).encode())
        for name, each in sorted(files.items()):
            digest.update(f"{name} {each.name} {each.size}\n".encode())
            for chunk in each.chunks():
                digest.update(chunk)
            each.seek(0)
        request._body = digest.digest()

    @extend_schema(
        operation_id="firmware_images_list",
        summary="Firmware images, newest first",
        responses={200: schemas.page_of(schemas.FIRMWARE_IMAGE)},
    )
    def get(self, request: Request) -> Response:
        return self.page(FirmwareImage.objects.all(), image_json)

    @extend_schema(
        operation_id="firmware_images_create",
        summary="Upload a firmware image",
        request={"multipart/form-data": schemas.FIRMWARE_IMAGE_UPLOAD},
        responses={201: schemas.FIRMWARE_IMAGE},
    )
    def post(self, request: Request) -> Response:
        self.check_every_site()
        sent = request._request
        unknown = [name for name in sent.FILES if name != "file"]
        if unknown:
            raise bad_request(f"/{unknown[0]}", "This member is not known.", "unknown_member")
        files = sent.FILES.getlist("file")
        if len(files) != 1:
            raise bad_request("/file", "One file is needed, in the part `file`.", "required")
        for name, values in sent.POST.lists():
            if len(values) > 1:
                raise bad_request(f"/{name}", "This member is given more than once.", "repeated")
            if "\x00" in values[0]:
                raise bad_request(f"/{name}", "A text must not contain U+0000.", "null_character")
        serializer = ImageWrite(data=dict(sent.POST.items()), context={"view": self})
        serializer.is_valid(raise_exception=True)
        try:
            image = firmware.add_image(files[0], caller_name(request), **serializer.validated_data)
        except firmware.ImageRefused as error:
            if error.code == "file_too_large":
                raise Problem(413, error.code, error.detail) from None
            raise bad_request("/file", error.detail, error.code) from None
        self.audit("create", image)
        return self.created(image_json(image), reverse("api:firmware-image", args=[image.pk]))


class FirmwareImageDetail(_Images):
    @extend_schema(
        operation_id="firmware_images_read", summary="One firmware image", responses={200: schemas.FIRMWARE_IMAGE}
    )
    def get(self, request: Request, pk: int) -> Response:
        return Response(image_json(self.one(pk)))

    @extend_schema(
        operation_id="firmware_images_delete",
        summary="Delete a firmware image that no update needs any more",
        responses={204: None},
    )
    def delete(self, request: Request, pk: int) -> Response:
        image = self.one(pk)
        self.check_every_site()
        self.audit("delete", image)
        try:
            firmware.delete_image(image)
        except firmware.ImageRefused as error:
            raise Problem(409, error.code, error.detail) from None
        return Response(status=204)


class FirmwareImageFile(_Images):
    @extend_schema(
        operation_id="firmware_images_download",
        summary="The file of a firmware image",
        responses={(200, "application/octet-stream"): schemas.BINARY},
    )
    def get(self, request: Request, pk: int) -> HttpResponseBase:
        image = self.one(pk)
        response = attachment(image.file, image.name, image.size)
        if response is None:
            raise Problem(404, "file_missing", "The file is not in the storage any more.")
        return response


# --- updates ----------------------------------------------------------------------------------------------------------
class _Updates(TenantAPIView):
    write_scope = ApiScope.OPERATE

    def rows(self) -> QuerySet[FirmwareUpdate]:
        rows = FirmwareUpdate.objects.select_related("charge_point", "command", "url")
        return at_sites_of(self, rows, "charge_point__site_id")


class FirmwareUpdateList(_Updates):
    query_parameters = frozenset({"charge_point"})
    paginated = True

    @extend_schema(
        operation_id="firmware_updates_list",
        summary="Firmware updates, newest first",
        parameters=schemas.query("charge_point"),
        responses={200: schemas.page_of(schemas.FIRMWARE_UPDATE)},
    )
    def get(self, request: Request) -> Response:
        rows = self.rows()
        if "charge_point" in request.query_params:
            rows = rows.filter(charge_point__identity=request.query_params["charge_point"])
        return self.page(rows, update_json)

    @extend_schema(
        operation_id="firmware_updates_create",
        summary="Ask a charge point to install firmware (UpdateFirmware, SignedUpdateFirmware)",
        description="An image of ours gets a URL for this charge point and this update alone.",
        request=UpdateWrite,
        responses={202: schemas.FIRMWARE_UPDATE},
    )
    def post(self, request: Request) -> Response:
        body = self.validated(UpdateWrite)
        charge_point = charge_point_named(self, body["charge_point"])
        image = None
        if "image" in body:
            image = FirmwareImage.objects.filter(pk=body["image"]).first()
            if image is None:
                raise bad_request("/image", "There is no such firmware image.", "not_found")
        members: dict[str, Any] = {
            "retrieve_date": body.get("retrieve_date") or datetime.now(UTC),
            "image": image,
            "location": body.get("location", ""),
            "retries": body.get("retries"),
            "retry_interval_seconds": body.get("retry_interval"),
            "reason": body["reason"],
        }
        try:
            if body["signed"]:
                members |= _signed_members(body, image)
                update = signed_firmware.request_signed_update(charge_point, caller_name(request), **members)
            else:
                update = firmware.request_update(charge_point, caller_name(request), **members)
        except CommandRefused as error:
            raise refused(error) from None
        data = with_statuses(update_json(self.rows().get(pk=update.pk)), update.statuses.all())
        return self.created(data, reverse("api:firmware-update", args=[update.pk]), status=202)


def _signed_members(body: dict[str, Any], image: FirmwareImage | None) -> dict[str, Any]:
    """What only a signed update takes; raises 400 when neither the body nor the image has a needed one."""
    members = {name: body.get(name) for name in ("install_date", "request_id")}
    for name in ("signature", "signing_certificate"):
        members[name] = body.get(name) or getattr(image, name, "")
        if not members[name]:
            raise bad_request(f"/{name}", "A signed update needs it, and the image has none.", "required")
    return members


class FirmwareUpdateDetail(_Updates):
    @extend_schema(
        operation_id="firmware_updates_read",
        summary="One firmware update with every status reported",
        responses={200: schemas.FIRMWARE_UPDATE},
    )
    def get(self, request: Request, pk: int) -> Response:
        update = self.rows().filter(pk=pk).first()
        if update is None:
            raise Problem(404, "not_found", "There is no such firmware update.")
        return Response(with_statuses(update_json(update), update.statuses.all()))
