"""`charging-profiles/`: the library; and what is installed on one charge point.

The library belongs to the whole tenant: who is limited to sites reads it and sends from it, but does not change it.
Deleting a profile, or changing it, leaves alone what charge points have: their rows keep the profile as it was sent.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from stations.api import schemas
from stations.api.visibility import at_sites_of, charge_point_of
from stations.charging_profile_rules import judge
from stations.charging_profiles import in_order, without_ids
from stations.models import ChargingProfile, InstalledProfile
from tenants.api.fields import Text
from tenants.api.pagination import MAX_SIZE
from tenants.api.permissions import caller_name
from tenants.api.problems import INVALID, Problem
from tenants.api.requests import raw_path
from tenants.api.views import StrictSerializer, TenantAPIView, entity_tag

MAX_INSTALLED_SHOWN = 100
EXAMPLES = [
    OpenApiExample(
        "At most 16 A by night",
        {
            "description": "16 A by night",
            "profile": {
                "stackLevel": 1,
                "chargingProfilePurpose": "TxDefaultProfile",
                "chargingProfileKind": "Recurring",
                "recurrencyKind": "Daily",
                "chargingSchedule": {
                    "duration": 28800,
                    "startSchedule": "2026-01-01T22:00:00Z",
                    "chargingRateUnit": "A",
                    "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16.0}],
                },
            },
        },
        request_only=True,
    )
]


class ChargingProfileWrite(StrictSerializer):
    """A profile of the library. A chargingProfileId in `profile` is not looked at: it is always `id`."""

    shown_only = frozenset({"id", "installed", "warnings", "requested_by", "created_at", "updated_at"})

    description = Text(max_length=200, required=False, default="", allow_blank=True)
    profile = serializers.DictField(help_text="The OCPP chargingProfile.")


def charging_profile_json(row: ChargingProfile) -> dict[str, Any]:
    """The resource; `row` comes with `shown_installed`."""
    shown: list[InstalledProfile] = getattr(row, "shown_installed", [])
    return {
        "id": row.pk,
        "description": row.description,
        "profile": in_order(row.as_sent),
        "warnings": [
            {"code": finding.code, "detail": finding.detail, "pointer": finding.pointer}
            for finding in judge(row.profile).findings
        ],
        "installed": [
            {
                "charge_point": installed.charge_point.identity,
                "connector_id": installed.connector_id,
                "transaction": installed.transaction_id,
                "state": installed.state,
                "current": without_ids(installed.profile) == without_ids(row.profile),
                "installed_at": installed.installed_at,
                "confirmed_at": installed.confirmed_at,
            }
            for installed in shown
        ],
        "requested_by": row.requested_by,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def installed_profile_json(row: InstalledProfile) -> dict[str, Any]:
    return {
        "id": row.pk,
        "charging_profile_id": row.charging_profile_id,
        "library": row.library_id,
        "connector_id": row.connector_id,
        "purpose": row.purpose,
        "stack_level": row.stack_level,
        "transaction": row.transaction_id,
        "state": row.state,
        "installed_at": row.installed_at,
        "confirmed_at": row.confirmed_at,
        "command": row.command_id,
        "profile": in_order(row.profile),
    }


def tag_of(row: ChargingProfile) -> str:
    """The ETag."""
    return entity_tag({"pk": row.pk, "description": row.description, "profile": in_order(row.profile)})


class _ChargingProfiles(TenantAPIView):
    tagged_object = True

    def rows(self) -> QuerySet[ChargingProfile]:
        """The library, each with where it is installed as far as the caller may see that."""
        installed = InstalledProfile.objects.select_related("charge_point").order_by("-pk")
        installed = at_sites_of(self, installed, "charge_point__site_id")
        shown = Prefetch("installed", queryset=installed[:MAX_INSTALLED_SHOWN], to_attr="shown_installed")
        return ChargingProfile.objects.prefetch_related(shown)

    def one(self, pk: int, *, locked: bool = False) -> ChargingProfile:
        rows = self.rows().select_for_update(of=("self",)) if locked else self.rows()
        row = rows.filter(pk=pk).first()
        if row is None:
            raise Problem(404, "not_found", "There is no such charging profile.")
        return row

    def answer(self, pk: int) -> Response:
        row = self.one(pk)
        return Response(charging_profile_json(row), headers={"ETag": tag_of(row)})

    def check_sites(self) -> None:
        if self.site_ids() is not None:
            raise Problem(403, "site_not_allowed", "The library is for sites other than yours, too.")

    def values(self) -> dict[str, Any]:
        """The body's members; raises 400 for what could never be sent."""
        values = self.validated(ChargingProfileWrite)
        profile = {name: value for name, value in values["profile"].items() if name != "chargingProfileId"}
        problems = judge(profile).problems
        if problems:
            raise Problem(
                400,
                "invalid",
                INVALID,
                errors=[
                    {"pointer": f"/profile{problem.pointer}", "detail": problem.detail, "code": problem.code}
                    for problem in problems
                ],
            )
        return {"description": values["description"], "profile": profile}


class ChargingProfileList(_ChargingProfiles):
    query_parameters = frozenset({"description"})
    paginated = True

    @extend_schema(
        operation_id="charging_profiles_list",
        summary="Charging profiles of the library, newest first",
        parameters=schemas.query("description"),
        responses={200: schemas.page_of(schemas.CHARGING_PROFILE)},
    )
    def get(self, request: Request) -> Response:
        rows = self.rows()
        if "description" in request.query_params:
            rows = rows.filter(description=request.query_params["description"])
        return self.page(rows, charging_profile_json)

    @extend_schema(
        operation_id="charging_profiles_create",
        summary="Put a charging profile into the library",
        description="Nothing is sent: a command with its `charging_profile_id` sends it.",
        request=ChargingProfileWrite,
        responses={201: schemas.CHARGING_PROFILE},
        examples=EXAMPLES,
    )
    def post(self, request: Request) -> Response:
        self.check_sites()
        row = ChargingProfile.objects.create(**self.values(), requested_by=caller_name(request)[:200])
        self.audit("create", row, {"profile": [None, row.profile], "description": [None, row.description]})
        answer = self.answer(row.pk)
        return self.created(answer.data, f"{raw_path(request._request)}{row.pk}/", ETag=answer["ETag"])


class ChargingProfileDetail(_ChargingProfiles):
    @extend_schema(
        operation_id="charging_profiles_read",
        summary="One charging profile, and where it is installed",
        responses={200: schemas.CHARGING_PROFILE},
    )
    def get(self, request: Request, pk: int) -> Response:
        return self.answer(pk)

    @extend_schema(
        operation_id="charging_profiles_replace",
        summary="Replace a charging profile of the library",
        description="Charge points keep what they were sent until it is sent again; `current` is false meanwhile.",
        request=ChargingProfileWrite,
        responses={200: schemas.CHARGING_PROFILE},
    )
    def put(self, request: Request, pk: int) -> Response:
        row = self.one(pk, locked=True)
        self.check_match(tag_of(row))
        self.check_sites()
        values = self.values()
        changes = {name: [getattr(row, name), value] for name, value in values.items() if getattr(row, name) != value}
        for name, value in values.items():
            setattr(row, name, value)
        row.save(update_fields=[*values, "updated_at"])
        self.audit("change", row, changes)
        return self.answer(pk)

    @extend_schema(
        operation_id="charging_profiles_delete",
        summary="Delete a charging profile from the library",
        description="Charge points keep it until it is cleared there.",
        responses={204: None},
    )
    def delete(self, request: Request, pk: int) -> Response:
        row = self.one(pk, locked=True)
        self.check_match(tag_of(row))
        self.check_sites()
        self.audit("delete", row, {"profile": [row.profile, None]})
        row.delete()
        return Response(status=204)


class InstalledProfileList(TenantAPIView):
    cursor_order = ("pk",)
    default_page_size = MAX_SIZE
    paginated = True

    @extend_schema(
        operation_id="installed_profiles_list",
        summary="Charging profiles that a charge point has, as we believe or as it has shown, by their installation",
        responses={200: schemas.page_of(schemas.INSTALLED_PROFILE)},
    )
    def get(self, request: Request, identity: str) -> Response:
        charge_point = charge_point_of(self, identity)
        return self.page(InstalledProfile.objects.filter(charge_point=charge_point), installed_profile_json)
