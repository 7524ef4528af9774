"""`commands/` and the commands of one charge point: enqueue, look, wait, withdraw."""

from __future__ import annotations

import time
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from stations import commands
from stations.api import schemas
from stations.api.charge_points import of_caller, one_of_caller
from stations.api.filters import choice
from stations.masking import masked
from stations.models import ChargePoint, Command
from stations.models.charge_point import RegistrationStatus
from stations.models.command import CommandStatus
from tenants.api.permissions import caller_name
from tenants.api.problems import Problem, bad_request
from tenants.api.views import StrictSerializer, TenantAPIView
from tenants.models import ApiScope

MAX_WAIT_SECONDS = 60
LOOK_SECONDS = 0.1
REFUSAL_STATUS = {"tenant_suspended": 403, "charge_point_disabled": 409}


class CommandWrite(StrictSerializer):
    """A request to a charge point; `payload` is the OCPP request as it goes on the wire."""

    action = serializers.CharField(max_length=50)
    payload = serializers.DictField(required=False, default=dict)
    reason = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)
    time_to_live_seconds = serializers.IntegerField(min_value=1, max_value=30 * 86_400, required=False)


class BulkFilter(StrictSerializer):
    site = serializers.CharField(max_length=100, required=False)
    registration_status = serializers.ChoiceField(choices=RegistrationStatus.choices, required=False)
    connected = serializers.BooleanField(required=False)
    vendor = serializers.CharField(max_length=255, required=False)
    model = serializers.CharField(max_length=255, required=False)


class BulkWrite(StrictSerializer):
    """One request to many charge points: those listed, or those that the filter finds."""

    action = serializers.CharField(max_length=50)
    payload = serializers.DictField(required=False, default=dict)
    reason = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)
    charge_points = serializers.ListField(
        child=serializers.CharField(max_length=48, trim_whitespace=False),
        required=False,
        min_length=1,
        max_length=10_000,
    )
    filter = BulkFilter(required=False)

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        if ("charge_points" in values) == ("filter" in values):
            raise serializers.ValidationError("Give either charge_points or filter.", code="either_or")
        return values


def command_json(command: Command) -> dict[str, Any]:
    return {
        "id": command.pk,
        "charge_point": command.charge_point.identity,
        "action": command.action,
        "payload": masked(command.action, command.payload),
        "requested_by": command.requested_by,
        "reason": command.reason,
        "status": command.status,
        "warnings": command.warnings,
        "response": command.response,
        "error": command.error,
        "effect": command.effect,
        "batch": command.batch_id,
        "created_at": command.created_at,
        "sent_at": command.sent_at,
        "answered_at": command.answered_at,
        "expires_at": command.expires_at,
    }


def refused(error: commands.CommandRefused) -> Problem:
    """CommandRefused as an answer, with pointers into the body."""
    if error.code == "unknown_action":
        return bad_request("/action", error.detail, error.code)
    return Problem(
        REFUSAL_STATUS.get(error.code, 400),
        error.code,
        error.detail,
        errors=[
            {"pointer": f"/payload{problem.pointer}", "detail": problem.detail, "code": problem.code}
            for problem in error.problems
        ],
    )


class _Commands(TenantAPIView):
    write_scope = ApiScope.OPERATE

    def rows(self) -> QuerySet[Command]:
        rows: QuerySet[Command] = Command.objects.select_related("charge_point")
        sites = self.site_ids()
        return rows if sites is None else rows.filter(charge_point__site_id__in=sites)

    def wait_seconds(self) -> float:
        text = self.request.query_params.get("wait", "0")
        if not (text.isascii() and text.isdigit() and len(text) < 4 and int(text) <= MAX_WAIT_SECONDS):
            raise bad_request("/wait", f"Seconds, 0 to {MAX_WAIT_SECONDS}.", "out_of_range")
        return float(text)

    def waited(self, command: Command, seconds: float) -> Command:
        """The command when it is final, or as it is when the time is over."""
        deadline = time.monotonic() + seconds
        while not command.is_final and (left := deadline - time.monotonic()) > 0:
            # Nobody else should lack a connection because this one waits.
            if connection.vendor == "postgresql" and not connection.in_atomic_block:
                connection.close()
            time.sleep(min(LOOK_SECONDS, left))
            command = Command.objects.select_related("charge_point").get(pk=command.pk)
        return command


class ChargePointCommandList(_Commands):
    query_parameters = frozenset({"wait", "status", "action"})
    paginated = True

    @extend_schema(
        operation_id="charge_point_commands_list",
        summary="Commands to one charge point, newest first",
        parameters=schemas.query("status", "action"),
        responses={200: schemas.page_of(schemas.COMMAND)},
    )
    def get(self, request: Request, identity: str) -> Response:
        rows = self.rows().filter(charge_point=one_of_caller(self, identity))
        return self.page(filtered(request, rows), command_json)

    @extend_schema(
        operation_id="charge_point_commands_create",
        summary="Send a request to a charge point",
        parameters=schemas.query("wait"),
        request=CommandWrite,
        responses={202: schemas.COMMAND},
    )
    def post(self, request: Request, identity: str) -> Response:
        self.wait_seconds()
        charge_point = one_of_caller(self, identity)
        body = self.validated(CommandWrite)
        try:
            command = commands.enqueue(
                charge_point, body["action"], body["payload"], caller_name(request), reason=body["reason"],
                time_to_live_seconds=body.get("time_to_live_seconds"),
            )  # fmt: skip
        except commands.CommandRefused as error:
            raise refused(error) from None
        location = request.build_absolute_uri(reverse("api:command", args=[command.pk]))
        return Response(command_json(command), status=202, headers={"Location": location})

    def after_commit(self, response: Response) -> Response:
        seconds = self.wait_seconds()
        if seconds:
            response.data = command_json(self.waited(self.rows().get(pk=response.data["id"]), seconds))
        return response


def filtered(request: Request, rows: QuerySet[Command]) -> QuerySet[Command]:
    rows = choice(request, rows, "status", CommandStatus.values)
    action = request.query_params.get("action")
    return rows if action is None else rows.filter(action=action)


class CommandList(_Commands):
    query_parameters = frozenset({"status", "action", "charge_point", "batch"})
    paginated = True

    @extend_schema(
        operation_id="commands_list",
        summary="Commands, newest first",
        parameters=schemas.query("status", "action", "charge_point", "batch"),
        responses={200: schemas.page_of(schemas.COMMAND)},
    )
    def get(self, request: Request) -> Response:
        rows = filtered(request, self.rows())
        if "charge_point" in request.query_params:
            rows = rows.filter(charge_point__identity=request.query_params["charge_point"])
        batch = request.query_params.get("batch")
        if batch is not None:
            if not (batch.isascii() and batch.isdigit() and len(batch) < 19):
                raise bad_request("/batch", "The id of a batch.", "invalid")
            rows = rows.filter(batch_id=int(batch))
        return self.page(rows, command_json)


class CommandDetail(_Commands):
    query_parameters = frozenset({"wait"})

    @extend_schema(
        operation_id="commands_read",
        summary="One command; wait for it to be final",
        parameters=schemas.query("wait"),
        responses={200: schemas.COMMAND},
    )
    def get(self, request: Request, pk: int) -> Response:
        return Response(command_json(self.waited(self._one(pk), self.wait_seconds())))

    @extend_schema(
        operation_id="commands_withdraw",
        summary="Withdraw a command that is still queued",
        responses={200: schemas.COMMAND},
    )
    def delete(self, request: Request, pk: int) -> Response:
        command = self._one(pk)
        if not commands.withdraw(command):
            raise Problem(409, "not_queued", f"The command is {command.status}; only a queued one can be withdrawn.")
        return Response(command_json(self._one(pk)))

    def _one(self, pk: int) -> Command:
        command = self.rows().filter(pk=pk).first() if pk < 2**63 else None
        if command is None:
            raise Problem(404, "not_found", "There is no such command.")
        return command


class CommandBulk(_Commands):
    @extend_schema(
        operation_id="commands_bulk",
        summary="Send one request to many charge points",
        request=BulkWrite,
        responses={202: schemas.COMMAND_BATCH},
    )
    def post(self, request: Request) -> Response:
        body = self.validated(BulkWrite)
        try:
            batch = commands.enqueue_many(
                self._chosen(body), body["action"], body["payload"], caller_name(request), reason=body["reason"]
            )
        except commands.CommandRefused as error:
            raise refused(error) from None
        rows = Command.objects.filter(batch=batch).select_related("charge_point").order_by("id")
        return Response(
            {
                "id": batch.pk,
                "action": batch.action,
                "requested_by": batch.requested_by,
                "created_at": batch.created_at,
                "commands": [command_json(command) for command in rows],
            },
            status=202,
        )

    def _chosen(self, body: dict[str, Any]) -> list[ChargePoint]:
        rows = of_caller(self).select_related("tenant")
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
            raise Problem(400, "invalid", "The request is not valid.", errors=problems[:100])
        return [found[identity] for identity in dict.fromkeys(body["charge_points"])]
