"""The composite schedule of a charge point: ours, computed from what is installed, and its own laid over it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from stations.admin.dialogs import find_charge_point
from stations.admin.step_chart import Series, duration_text, step_chart
from stations.charging_profiles import composite_schedule as computed_schedule
from stations.composite_comparison import Difference, answer_of, differences, steps_of
from stations.composite_schedule import Schedule
from stations.models import ChargePoint, Command, Connector
from stations.models.command import CommandStatus
from tenants.admin.scoped import may
from tenants.display import local_text
from tenants.models import ApiScope

DAY_SECONDS = 86_400
MAX_SECONDS = 31 * DAY_SECONDS
# Answers looked through for one about the connector, the newest first.
SEARCHED_ANSWERS = 50
SHOWN_ROWS = 200
DURATIONS = [
    (3600, "1 hour"),
    (4 * 3600, "4 hours"),
    (12 * 3600, "12 hours"),
    (DAY_SECONDS, "24 hours"),
    (2 * DAY_SECONDS, "2 days"),
    (7 * DAY_SECONDS, "7 days"),
    (MAX_SECONDS, "31 days"),
]
UNITS = {"A": "A per phase", "W": "W in total"}
KINDS = {
    "higher": "allows more than we expect",
    "lower": "allows less than we expect",
    "only_ours": "knows no limit",
    "only_theirs": "limits where we know of no profile; it may be what its hardware can do",
}


@dataclass(frozen=True)
class Question:
    """What the picture is asked to show; None: whatever the newest answer is about."""

    connector_id: int
    duration_seconds: int | None
    unit: str | None
    from_now: bool


def composite_schedule(charge_point: ChargePoint) -> dict[str, Any]:
    """The panel: its questions. The picture itself is fetched by them (`composite_view`)."""
    known = Connector.objects.filter(charge_point=charge_point).order_by("connector_id")
    numbers = [number for number in known.values_list("connector_id", flat=True) if number > 0]
    return {
        "connectors": [(0, "0, the charge point"), *((number, str(number)) for number in numbers)],
        "chosen_connector": numbers[0] if numbers else 0,
        "durations": DURATIONS,
        "units": UNITS.items(),
    }


def composite_view(request: HttpRequest, charge_point_id: int) -> HttpResponse:
    """The picture, as HTML without a frame around it. Query: connector, duration (seconds), unit, start ("now")."""
    if not may(request, ApiScope.READ):
        return HttpResponse(status=403)
    charge_point = find_charge_point(request, charge_point_id)
    context = picture(charge_point, _question(request.GET), datetime.now(UTC))
    return TemplateResponse(request, "stations/admin/composite_picture.html", context)


def picture(charge_point: ChargePoint, question: Question, now: datetime) -> dict[str, Any]:
    """What the template shows. With an answer that is to be compared, time begins where that answer does."""
    command = newest_answer(charge_point, question.connector_id)
    answer = None
    if command is not None and command.answered_at is not None:
        answer = answer_of(command.response or {}, command.payload, command.sent_at or command.answered_at)
    compared = answer if answer is not None and not question.from_now else None
    start = compared.start if compared else now.replace(microsecond=0)
    duration = question.duration_seconds or (compared.duration_seconds if compared else DAY_SECONDS)
    duration = min(max(duration, 1), MAX_SECONDS)
    unit = question.unit or (answer.unit if answer else "A")
    context: dict[str, Any] = {"charge_point": charge_point, "question": question, "command": command, "answer": answer}
    try:
        ours = computed_schedule(charge_point, question.connector_id, start=start, duration_seconds=duration, unit=unit)
    except (ValueError, OverflowError):
        return {**context, "impossible": True}
    apart = differences(ours, compared) if compared else []
    series = [Series("Ours", "ours", [(each.start_period, _float(each.limit)) for each in ours.periods])]
    if compared:
        series.append(
            Series("Charge point", "theirs", [(second, _float(limit)) for second, limit in steps_of(compared, ours)])
        )
    bands = [(each.begin, each.end, "") for each in apart]
    title = f"Composite schedule of connector {question.connector_id} from {local_text(start)}"
    return {
        **context,
        "chart": step_chart(title, UNITS[unit], duration, series, begin=start, bands=bands),
        "start": start,
        "end": start + timedelta(seconds=duration),
        "unit": unit,
        "limited": ours.limited,
        "compared": compared,
        "over": compared is not None and compared.start + timedelta(seconds=compared.duration_seconds) < now,
        "differences": [_difference_row(each, start) for each in apart[:SHOWN_ROWS]],
        "rows": _rows(ours, start),
        "shortened": len(apart) > SHOWN_ROWS or len(ours.periods) > SHOWN_ROWS,
    }


def newest_answer(charge_point: ChargePoint, connector_id: int) -> Command | None:
    """The newest GetCompositeSchedule of a connector that the charge point has answered, with whatever."""
    answered = Command.objects.filter(
        charge_point=charge_point, action="GetCompositeSchedule", status=CommandStatus.ANSWERED
    )
    for command in answered.order_by("-id")[:SEARCHED_ANSWERS]:
        if command.payload.get("connectorId") == connector_id:
            return command
    return None


def _question(query: Mapping[str, str]) -> Question:
    connector, duration = query.get("connector", ""), query.get("duration", "")
    return Question(
        int(connector) if connector.isdecimal() and len(connector) < 10 else 0,
        int(duration) if duration.isdecimal() and len(duration) < 10 else None,
        query["unit"] if query.get("unit") in UNITS else None,
        query.get("start") == "now",
    )


def _rows(ours: Schedule, start: datetime) -> list[dict[str, Any]]:
    """Our periods, with the profiles that decide in each."""
    rows = []
    ends = [period.start_period for period in ours.periods[1:]] + [ours.duration_seconds]
    changes = [decision.start_period for decision in ours.decisions]
    for period, end in list(zip(ours.periods, ends, strict=True))[:SHOWN_ROWS]:
        first, last = bisect_right(changes, period.start_period) - 1, bisect_left(changes, end)
        deciding = [decision.charging_profile_ids for decision in ours.decisions[first:last]]
        rows.append(
            {
                "begin": start + timedelta(seconds=period.start_period),
                "second": period.start_period,
                "lasts": duration_text(end - period.start_period),
                "limit": period.limit,
                "phases": period.number_phases,
                "profiles": list(dict.fromkeys(profile_id for ids in deciding for profile_id in ids)),
            }
        )
    return rows


def _difference_row(difference: Difference, start: datetime) -> dict[str, Any]:
    return {
        "begin": start + timedelta(seconds=difference.begin),
        "end": start + timedelta(seconds=difference.end),
        "lasts": duration_text(difference.end - difference.begin),
        "ours": difference.ours,
        "theirs": difference.theirs,
        "kind": difference.kind,
        "sentence": KINDS[difference.kind],
    }


def _float(limit: Any) -> float | None:
    return None if limit is None else float(Fraction(limit))
