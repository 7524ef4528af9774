"""`charge-points/{identity}/password/` and `.../security-profile/`: over OCPP, and what an administrator may lower."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from stations import commands, passwords, security_profiles
from stations.api import schemas
from stations.api.commands import command_json, refused
from stations.api.values import checked_password
from stations.api.visibility import charge_point_of
from stations.models import Command
from tenants.api.fields import Integer, Text
from tenants.api.permissions import caller_name, may
from tenants.api.problems import Problem, bad_request
from tenants.api.views import StrictSerializer, TenantAPIView
from tenants.models import ApiScope


class PasswordWrite(StrictSerializer):
    """A new password for the charge point to take."""

    password = Text(
        max_length=40,
        required=False,
        write_only=True,
        help_text="16 to 20 bytes as text, or 32 to 40 hexadecimal digits. Left out: one is made.",
    )
    reason = Text(max_length=500, required=False, default="", allow_blank=True)

    def validate_password(self, password: str) -> str:
        return checked_password(password)


class SecurityProfileWrite(StrictSerializer):
    """The profile to come to: a higher one is asked of the charge point, a lower one is set here."""

    security_profile = Integer(min_value=0, max_value=3)
    reason = Text(
        max_length=500, required=False, default="", allow_blank=True, help_text="Needed where the profile is lowered."
    )


class PasswordRotation(TenantAPIView):
    @extend_schema(
        operation_id="charge_points_password",
        summary="Change the password, here and at the charge point",
        description="Sends ChangeConfiguration of AuthorizationKey. `password` is shown in this answer only, and only "
        "when it was made here: 40 hexadecimal digits.",
        request=PasswordWrite,
        responses={202: schemas.PASSWORD_COMMAND},
        examples=[OpenApiExample("One made here", {"reason": "Yearly"}, request_only=True)],
    )
    def post(self, request: Request, identity: str) -> Response:
        charge_point = charge_point_of(self, identity)
        body = self.validated(PasswordWrite)
        try:
            command, made = passwords.rotate_password(
                charge_point, caller_name(request), body.get("password"), reason=body["reason"]
            )
        except commands.CommandRefused as error:
            raise refused(error) from None
        self.audit("rotate password", charge_point, {"password": ["***", "***"]})
        return _accepted(self, command, {} if made is None else {"password": made})


class SecurityProfileChange(TenantAPIView):
    write_scope = ApiScope.OPERATE

    @extend_schema(
        operation_id="charge_points_security_profile",
        summary="Raise the security profile at the charge point, or lower it here",
        description="A higher profile is asked of the charge point (202, with the command): until it has connected "
        "with it, both are accepted. A lower one, or the one in force while a higher one is pending, is set here "
        "(200, with `warnings`) and is never sent: the charge point has to be changed on site. It needs a `reason`.",
        request=SecurityProfileWrite,
        responses={200: schemas.LOWERED_PROFILE, 202: schemas.COMMAND},
        examples=[OpenApiExample("To TLS with a password", {"security_profile": 2}, request_only=True)],
    )
    def post(self, request: Request, identity: str) -> Response:
        charge_point = charge_point_of(self, identity)
        body = self.validated(SecurityProfileWrite)
        profile, reason = body["security_profile"], body["reason"].strip()
        before = charge_point.security_profile
        if profile > before or (profile == before and charge_point.pending_security_profile is None):
            try:
                command = security_profiles.raise_profile(charge_point, profile, caller_name(request), reason=reason)
            except commands.CommandRefused as error:
                raise refused(error) from None
            self.audit("ask for security profile", charge_point, {"security_profile": [before, profile]})
            return _accepted(self, command, {})
        if not may(request, ApiScope.MANAGE):
            raise Problem(403, "missing_scope", "Lowering a security profile needs the scope manage.")
        if not reason:
            raise bad_request("/reason", "Say why the profile is lowered.", "required")
        pending = charge_point.pending_security_profile
        try:
            warnings = security_profiles.lower_profile(charge_point, profile)
        except security_profiles.ProfileRefused as error:
            raise Problem(409, error.code, error.detail) from None
        self.audit(
            "lower security profile",
            charge_point,
            {"security_profile": [before if pending is None else f"{before}, pending {pending}", profile],
             "reason": ["", reason]},
        )  # fmt: skip
        return Response({"identity": charge_point.identity, "security_profile": profile, "warnings": warnings})


def _accepted(view: TenantAPIView, command: Command, shown: dict[str, Any]) -> Response:
    path = reverse("api:command", args=[command.pk])
    return view.created(command_json(command) | shown, path, status=202)
