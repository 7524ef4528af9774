"""`commands/` and the commands of one charge point: enqueue, look, wait, withdraw."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from csms.ocppj.payloads import validate_call
from stations import commands, secret_keys
from stations.api import schemas
from stations.api.filters import MAX_INT32, MAX_INT64, charge_point_filter, choice, whole_number
from stations.api.visibility import at_sites_of, charge_point_of, charge_points_of
from stations.api.waiting import wait_until_final
from stations.charging_profiles import PROFILE_MEMBER, with_library_profile
from stations.masking import masked
from stations.models import ChargePoint, ChargingProfile, Command, CommandBatch
from stations.models.charge_point import RegistrationStatus
from stations.models.command import CommandStatus
from stations.ocpp.actions import TO_CHARGE_POINT
from tenants.api.fields import Boolean, Integer, Text
from tenants.api.idempotency import FollowUp
from tenants.api.permissions import caller_name
from tenants.api.problems import INVALID, Problem, bad_request
from tenants.api.views import StrictSerializer, TenantAPIView
from tenants.models import ApiScope

MAX_WAIT_SECONDS = 60
MAX_LIFE_SECONDS = 30 * 86_400
REFUSAL_STATUS = {"tenant_suspended": 403, "charge_point_disabled": 409, "security_profile_lowered": 409}
EXAMPLES = [
    OpenApiExample("Reset", {"action": "Reset", "payload": {"type": "Hard"}}, request_only=True),
    OpenApiExample(
        "Remote start",
        {"action": "RemoteStartTransaction", "payload": {"idTag": "04A2B3C4", "connectorId": 1}},
        request_only=True,
    ),
    OpenApiExample(
        "A profile of the library for a running transaction",
        {
            "action": "SetChargingProfile",
            "payload": {"connectorId": 1},
            "charging_profile_id": 7,
            "transaction_id": 4711,
        },
        request_only=True,
    ),
]


def charging_profile_reference() -> Integer:
    """The member of a request that names a profile of the library."""
    return Integer(
        min_value=1,
        max_value=MAX_INT32,
        required=False,
        help_text="A profile of the library: becomes csChargingProfiles of SetChargingProfile, or chargingProfile of "
        "RemoteStartTransaction, where it never has a transactionId.",
    )


class CommandWrite(StrictSerializer):
    """A request to a charge point; `payload` is the OCPP request as it goes on the wire."""

    action = Text(max_length=50)
    payload = serializers.DictField(required=False, default=dict)
    reason = Text(max_length=500, required=False, default="", allow_blank=True)
    time_to_live_seconds = Integer(
        min_value=1, max_value=MAX_LIFE_SECONDS, required=False, help_text="How long it may wait for its charge point."
    )
    transaction_id = Integer(
        min_value=1,
        max_value=MAX_INT32,
        required=False,
        help_text="Put into the payload of RemoteStopTransaction, or into a TxProfile.",
    )
    charging_profile_id = charging_profile_reference()


class BulkFilter(StrictSerializer):
    site = Text(max_length=63, required=False)
    registration_status = serializers.ChoiceField(choices=RegistrationStatus.choices, required=False)
    connected = Boolean(required=False)
    vendor = Text(max_length=255, required=False)
    model = Text(max_length=255, required=False)


class BulkWrite(StrictSerializer):
    """One request to many charge points: those listed, or all that the filter finds."""

    action = Text(max_length=50)
    payload = serializers.DictField(required=False, default=dict)
    reason = Text(max_length=500, required=False, default="", allow_blank=True)
    charge_points = serializers.ListField(child=Text(max_length=48), required=False, min_length=1, max_length=10_000)
    filter = BulkFilter(required=False)
    charging_profile_id = charging_profile_reference()

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        if ("charge_points" in values) == ("filter" in values):
            raise serializers.ValidationError("Give either charge_points or filter.", code="either_or")
        return values


def command_json(command: Command) -> dict[str, Any]:
    listed = secret_keys.of(command)
    return {
        "id": command.pk,
        "charge_point": command.charge_point.identity,
        "action": command.action,
        "payload": masked(command.action, command.payload, listed),
        "requested_by": command.requested_by,
        "reason": command.reason,
        "status": command.status,
        "warnings": command.warnings,
        "response": masked(command.action, command.response, listed),
        "error": command.error,
        "effect": command.effect,
        "batch": command.batch_id,
        "attempts": command.attempts,
        "created_at": command.created_at,
        "sent_at": command.sent_at,
        "answered_at": command.answered_at,
        "expires_at": command.expires_at,
    }


def refused(error: commands.CommandRefused) -> Problem:
    """CommandRefused as an answer, with pointers into the body."""
    if error.code == "unknown_action":
        return bad_request("/action", error.detail, error.code)
    errors = [
        {"pointer": f"/payload{problem.pointer}", "detail": problem.detail, "code": problem.code}
        for problem in error.problems
    ]
    return Problem(REFUSAL_STATUS.get(error.code, 400), error.code, error.detail, errors=errors)


def with_transaction(action: str, payload: dict[str, Any], transaction_id: int) -> dict[str, Any]:
    """`payload` with the transaction put where `action` has a place for one; raises 400 where it has none."""
    if action == "RemoteStopTransaction":
        return {**payload, "transactionId": transaction_id}
    profile = payload.get("csChargingProfiles")
    if action == "SetChargingProfile" and isinstance(profile, dict):
        if profile.get("chargingProfilePurpose") == "TxProfile":
            return {**payload, "csChargingProfiles": {**profile, "transactionId": transaction_id}}
    raise bad_request("/transaction_id", "This request has no place for a transaction.", "not_applicable")


def with_charging_profile(action: str, payload: dict[str, Any], charging_profile_id: int) -> dict[str, Any]:
    """`payload` with the profile of the library put in; raises 400 where it has no place or has a profile already."""
    member = PROFILE_MEMBER.get(action)
    if member is None:
        raise bad_request("/charging_profile_id", "This request has no place for a profile.", "not_applicable")
    if member in payload:
        raise bad_request(f"/payload/{member}", "Give either this or charging_profile_id.", "either_or")
    row = ChargingProfile.objects.filter(pk=charging_profile_id).first()
    if row is None:
        raise bad_request("/charging_profile_id", "There is no such charging profile.", "not_found")
    return with_library_profile(action, payload, row)


class _Commands(TenantAPIView):
    write_scope = ApiScope.OPERATE

    def rows(self) -> QuerySet[Command]:
        return at_sites_of(self, Command.objects.select_related("charge_point__tenant"), "charge_point__site_id")

    def wait_seconds(self) -> int:
        """The parameter `wait`; raises 400."""
        return whole_number(self.request, "wait", MAX_WAIT_SECONDS) or 0

    def filtered(self, rows: QuerySet[Command]) -> QuerySet[Command]:
        rows = choice(self.request, rows, "status", CommandStatus.values)
        action = self.request.query_params.get("action")
        return rows if action is None else rows.filter(action=action)


class ChargePointCommandList(_Commands):
    query_parameters = frozenset({"status", "action"})
    post_parameters = frozenset({"wait"})
    paginated = True

    @extend_schema(
        operation_id="charge_point_commands_list",
        summary="Commands to one charge point, newest first",
        parameters=schemas.query("status", "action"),
        responses={200: schemas.page_of(schemas.COMMAND)},
    )
    def get(self, request: Request, identity: str) -> Response:
        rows = self.rows().filter(charge_point=charge_point_of(self, identity))
        return self.page(self.filtered(rows), command_json)

    @extend_schema(
        operation_id="charge_point_commands_create",
        summary="Send a request to a charge point",
        description="Answers at once, or with `wait` when the command is final or the time is over.",
        parameters=schemas.query("wait"),
        request=CommandWrite,
        responses={202: schemas.COMMAND},
        examples=EXAMPLES,
    )
    def post(self, request: Request, identity: str) -> Response:
        charge_point = charge_point_of(self, identity)
        body = self.validated(CommandWrite)
        payload = body["payload"]
        if "charging_profile_id" in body:
            payload = with_charging_profile(body["action"], payload, body["charging_profile_id"])
        if "transaction_id" in body:
            payload = with_transaction(body["action"], payload, body["transaction_id"])
        try:
            command = commands.enqueue(
                charge_point,
                body["action"],
                payload,
                caller_name(request),
                reason=body["reason"],
                time_to_live_seconds=body.get("time_to_live_seconds"),
            )
        except commands.CommandRefused as error:
            raise refused(error) from None
        return self.created(command_json(command), reverse("api:command", args=[command.pk]), status=202)

    def after_commit(self) -> FollowUp | None:
        seconds = self.wait_seconds()

        def wait(response: Response) -> Response:
            pk = response.data["id"]
            wait_until_final(pk, seconds)
            command = self.rows().filter(pk=pk).first()
            if command is not None:
                response.data = command_json(command)
            return response

        return wait if seconds else None


class CommandList(_Commands):
    query_parameters = frozenset({"status", "action", "charge_point", "batch"})
    delete_parameters = frozenset({"batch"})
    paginated = True

    @extend_schema(
        operation_id="commands_list",
        summary="Commands, newest first",
        parameters=schemas.query("status", "action", "charge_point", "batch"),
        responses={200: schemas.page_of(schemas.COMMAND)},
    )
    def get(self, request: Request) -> Response:
        rows = charge_point_filter(request, self.filtered(self.rows()))
        batch = whole_number(request, "batch", MAX_INT64)
        return self.page(rows if batch is None else rows.filter(batch_id=batch), command_json)

    @extend_schema(
        operation_id="commands_withdraw_batch",
        summary="Withdraw the commands of a batch that are still queued",
        parameters=schemas.query("batch"),
        responses={200: schemas.WITHDRAWN},
    )
    def delete(self, request: Request) -> Response:
        batch = whole_number(request, "batch", MAX_INT64)
        if batch is None:
            raise bad_request("/batch", "Say whose commands are withdrawn.", "required")
        rows = self.rows().filter(batch_id=batch)
        number = rows.count()
        if not number:
            raise Problem(404, "not_found", "There is no such batch.")
        withdrawn = commands.withdraw_many(rows)
        self.audit("withdraw", CommandBatch.objects.get(pk=batch), {"commands": [None, withdrawn]})
        return Response({"batch": batch, "withdrawn": withdrawn, "not_queued": number - withdrawn})


class CommandDetail(_Commands):
    query_parameters = frozenset({"wait"})

    @extend_schema(
        operation_id="commands_read",
        summary="One command, at once or when it is final",
        parameters=schemas.query("wait"),
        responses={200: schemas.COMMAND},
    )
    def get(self, request: Request, pk: int) -> Response:
        seconds = self.wait_seconds()
        command = self._one(pk)
        if seconds and not command.is_final:
            wait_until_final(pk, seconds)
            command = self._one(pk)
        return Response(command_json(command))

    @extend_schema(
        operation_id="commands_withdraw",
        summary="Withdraw a command that is still queued",
        responses={200: schemas.COMMAND},
    )
    def delete(self, request: Request, pk: int) -> Response:
        command = self._one(pk)
        if not commands.withdraw(command):
            raise Problem(409, "not_queued", f"The command is {command.status}; only a queued one can be withdrawn.")
        self.audit("withdraw", command)
        return Response(command_json(self._one(pk)))

    def _one(self, pk: int) -> Command:
        command = self.rows().filter(pk=pk).first()
        if command is None:
            raise Problem(404, "not_found", "There is no such command.")
        return command


class CommandBulk(_Commands):
    @extend_schema(
        operation_id="commands_bulk",
        summary="Send one request to many charge points",
        description="Those listed, or all that the filter finds; an empty filter finds all.",
        request=BulkWrite,
        responses={202: schemas.COMMAND_BATCH},
        examples=[
            OpenApiExample(
                "Read the configuration of a site",
                {"action": "GetConfiguration", "filter": {"site": "depot"}},
                request_only=True,
            )
        ],
    )
    def post(self, request: Request) -> Response:
        body = self.validated(BulkWrite)
        action, payload = body["action"], body["payload"]
        if "charging_profile_id" in body:
            payload = with_charging_profile(action, payload, body["charging_profile_id"])
        chosen = chosen_charge_points(self, body)
        if all(charge_point.disabled for charge_point in chosen) and action in TO_CHARGE_POINT:
            # With nobody to send it to, nothing below would look at the payload.
            problems = validate_call(action, payload)
            if problems:
                raise refused(
                    commands.CommandRefused("invalid_payload", f"The payload is not a valid {action}.req.", problems)
                )
        elif action not in TO_CHARGE_POINT:
            raise bad_request("/action", f"{action!r} is not a request that a central system sends.", "unknown_action")
        try:
            batch = commands.enqueue_many(chosen, action, payload, caller_name(request), reason=body["reason"])
        except commands.CommandRefused as error:
            raise refused(error) from None
        self.audit("send", batch)
        known = {row.pk: row for row in chosen}
        rows = list(Command.objects.filter(batch=batch).order_by("id"))
        for command in rows:
            command.charge_point = known[command.charge_point_id]
        data = {
            "id": batch.pk,
            "action": batch.action,
            "requested_by": batch.requested_by,
            "created_at": batch.created_at,
            "commands": [command_json(command) for command in rows],
            "skipped": [
                {"charge_point": row.identity, "code": "charge_point_disabled"} for row in chosen if row.disabled
            ],
        }
        return self.created(data, f"{reverse('api:commands')}?batch={batch.pk}", status=202)


def chosen_charge_points(view: TenantAPIView, body: dict[str, Any]) -> list[ChargePoint]:
    """Those that `charge_points` lists or `filter` finds, with their tenant; raises 400 for one that is not there."""
    rows = charge_points_of(view).select_related("tenant")
    if "filter" in body:
        wanted = dict(body["filter"])
        if "site" in wanted:
            wanted["site__slug"] = wanted.pop("site")
        return list(rows.filter(**wanted).order_by("pk"))
    found = {row.identity: row for row in rows.filter(identity__in=body["charge_points"])}
    problems = [
        {"pointer": f"/charge_points/{index}", "detail": "There is no such charge point.", "code": "not_found"}
        for index, identity in enumerate(body["charge_points"])
        if identity not in found
    ]
    if problems:
        raise Problem(400, "invalid", INVALID, errors=problems[:100])
    return [found[identity] for identity in dict.fromkeys(body["charge_points"])]
