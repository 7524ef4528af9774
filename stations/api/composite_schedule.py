"""`composite-schedule/` of a charge point: the limits over time as we compute them; nothing is sent."""

from __future__ import annotations

from datetime import UTC, datetime

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from stations.api import schemas
from stations.api.filters import chosen, whole_number
from stations.api.visibility import charge_point_of
from stations.charging_profiles import composite_schedule
from tenants.api.fields import INSTANT_HINT, parse_instant
from tenants.api.problems import Problem, bad_request
from tenants.api.views import TenantAPIView

DAY_SECONDS = 86_400
MAX_DURATION_SECONDS = 31 * DAY_SECONDS


class CompositeSchedule(TenantAPIView):
    query_parameters = frozenset({"connector_id", "duration", "unit", "at"})

    @extend_schema(
        operation_id="composite_schedule_read",
        summary="The composite schedule that follows from the profiles installed",
        description="Of one connector, or of the charge point as a whole (0, which it is when it is left out). W and A "
        "are converted at 230 V. The command GetCompositeSchedule asks the charge point itself.",
        parameters=schemas.query("connector_id", "duration", "unit", "at"),
        responses={200: schemas.COMPOSITE_SCHEDULE},
    )
    def get(self, request: Request, identity: str) -> Response:
        charge_point = charge_point_of(self, identity)
        connector_id = whole_number(request, "connector_id") or 0
        duration = whole_number(request, "duration", MAX_DURATION_SECONDS)
        start = self._start()
        try:
            schedule = composite_schedule(
                charge_point,
                connector_id,
                start=start,
                duration_seconds=DAY_SECONDS if duration is None else duration,
                unit=chosen(request, "unit", ("A", "W")) or "W",
            )
        except (ValueError, OverflowError):
            raise Problem(409, "not_computable", "A profile that is installed has a time no calendar has.") from None
        return Response(
            {
                "connector_id": connector_id,
                "schedule_start": start,
                "charging_schedule": schedule.as_json() if schedule.limited else None,
                "decisions": [
                    {
                        "start_period": decision.start_period,
                        "charging_profile_ids": list(decision.charging_profile_ids),
                    }
                    for decision in schedule.decisions
                ],
            }
        )

    def _start(self) -> datetime:
        text = self.request.query_params.get("at")
        if text is None:
            # In whole milliseconds, as it is shown.
            now = datetime.now(UTC)
            return now.replace(microsecond=now.microsecond // 1000 * 1000)
        at = parse_instant(text.replace(" ", "+"))
        if at is None:
            raise bad_request("/at", INSTANT_HINT, "invalid_time")
        return at
