"""`tariffs/preview/`: what a session would cost by a tariff, line by line. Nothing is stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import rating, tariffs
from billing.api.tariffs import in_force
from billing.charge import HOUR, CannotRate, Charge, Reading, Reserved
from billing.currencies import MICRO, digits_of, nearest_text, text_of
from billing.rating import Line, Period, Price, Rated
from billing.tariffs import Dimension, Tariff
from csms.ocppj.times import format_time
from tenants.api.fields import Boolean, Instant, Text
from tenants.api.problems import Problem, bad_request
from tenants.api.schema import component, obj
from tenants.api.views import StrictSerializer, TenantAPIView
from tenants.models import ApiScope
from tenants.validators import validate_time_zone

MAX_READINGS = 10_000
MAX_DAYS = 366
# The most that a meter's register, a power and a current can be here: within what 64 bits hold in thousandths.
MAX_WH = Decimal(10**12)
MAX_W = MAX_A = Decimal(10**8)
# Of volumes in the answer: OCPI numbers have four digits.
OCPI_DIGITS = 4
MILLI = 1000


class Quantity(serializers.Field[Decimal, Any, str, Any]):
    """A decimal from 0 on with at most three digits behind the point, as a number or as text."""

    default_error_messages = {
        "invalid": "This must be a number.",
        "too_precise": "This may have 3 digits behind the point at most.",
        "out_of_range": "This must be from 0 to {most}.",
    }

    def __init__(self, most: Decimal, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.most = most

    def to_internal_value(self, data: Any) -> int:
        """In thousandths."""
        if isinstance(data, bool) or not isinstance(data, int | float | str):
            self.fail("invalid")
        try:
            number = Decimal(str(data))
        except ArithmeticError:
            self.fail("invalid")
        if not number.is_finite():
            self.fail("invalid")
        if not 0 <= number <= self.most:
            self.fail("out_of_range", most=self.most)
        if number * MILLI != (number * MILLI).to_integral_value():
            self.fail("too_precise")
        return int(number * MILLI)


@extend_schema_field({"type": ["number", "string"]})
class DocumentedQuantity(Quantity):
    pass


class ReadingToRate(StrictSerializer):
    timestamp = Instant()
    energy_wh = DocumentedQuantity(MAX_WH, help_text="The meter's register.")
    power_w = DocumentedQuantity(MAX_W, required=False, default=None, allow_null=True)
    current_a = DocumentedQuantity(
        MAX_A, required=False, default=None, allow_null=True, help_text="The sum over the phases."
    )


class ReservedTime(StrictSerializer):
    """From the making of the reservation to the start of charging, or to its expiry."""

    to = Instant()
    expired = Boolean(required=False, default=False)

    def get_fields(self) -> Any:
        return {"from": Instant(), **super().get_fields()}


class SessionToRate(StrictSerializer):
    started_at = Instant()
    stopped_at = Instant()
    charging_ended_at = Instant(
        required=False,
        default=None,
        allow_null=True,
        help_text="From then on the vehicle wanted no power: parking. Left out: none was parking.",
    )
    time_zone = Text(max_length=64, required=False, default="UTC", help_text="Of the site, such as Europe/Berlin.")
    readings = ReadingToRate(many=True, max_length=MAX_READINGS)
    reservation = ReservedTime(required=False, default=None, allow_null=True)

    def validate_time_zone(self, name: str) -> str:
        validate_time_zone(name)
        return name

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        ended = values["charging_ended_at"]
        if values["stopped_at"] < values["started_at"]:
            raise serializers.ValidationError({"stopped_at": [_fault("It is before started_at.", "stop_before_start")]})
        if values["stopped_at"] - values["started_at"] > timedelta(days=MAX_DAYS):
            detail = f"The session lasts longer than {MAX_DAYS} days."
            raise serializers.ValidationError({"stopped_at": [_fault(detail, "too_long")]})
        if ended is not None and not values["started_at"] <= ended <= values["stopped_at"]:
            detail = "It is not between started_at and stopped_at."
            raise serializers.ValidationError({"charging_ended_at": [_fault(detail, "out_of_range")]})
        reserved = values["reservation"]
        if reserved is not None and reserved["to"] < reserved["from"]:
            raise serializers.ValidationError({"reservation": {"to": [_fault("It is before from.", "invalid")]}})
        if reserved is not None and reserved["to"] - reserved["from"] > timedelta(days=MAX_DAYS):
            detail = f"The reservation lasts longer than {MAX_DAYS} days."
            raise serializers.ValidationError({"reservation": {"to": [_fault(detail, "too_long")]}})
        return values


@extend_schema_field(OpenApiTypes.ANY)
class TariffOrCode(serializers.JSONField):
    pass


class PreviewWrite(StrictSerializer):
    tariff = TariffOrCode(help_text="The tariff itself, in the shape of `tariffs/`, or its code.")
    session = SessionToRate()


def _fault(detail: str, code: str) -> serializers.ErrorDetail:
    return serializers.ErrorDetail(detail, code=code)


# --- the answer -------------------------------------------------------------------------------------------------------
_DECIMAL: dict[str, Any] = {"type": "string", "pattern": r"^-?\d+(\.\d+)?$"}
_MONEY = component("Money", obj(excl_vat=_DECIMAL, incl_vat={"type": ["string", "null"]}))
_COSTS = ("energy", "time", "parking", "fixed", "reservation")
_VOLUMES = (
    "total_energy_kwh", "total_time_hours", "total_parking_time_hours", "billed_energy_kwh", "billed_time_hours",
    "billed_parking_time_hours",
)  # fmt: skip
_TEXT: dict[str, Any] = {"type": "string"}
_MEMBERS: dict[str, Any] = {
    "currency": _TEXT,
    "total_cost": _MONEY,
    **{f"total_{kind}_cost": _MONEY for kind in _COSTS},
    "exact_cost": {**_MONEY, "description": "total_cost before anything is rounded."},
    "taxes": {"type": "array", "items": obj(rate=_DECIMAL, net=_DECIMAL, tax=_DECIMAL)},
    **dict.fromkeys(_VOLUMES, _DECIMAL),
    "charging_periods": {
        "type": "array",
        "items": {"type": "object", "additionalProperties": True},
        "description": "ChargingPeriod objects of OCPI 2.2.1.",
    },
    "lines": {
        "type": "array",
        "items": obj(
            text=_TEXT,
            quantity=_DECIMAL,
            unit=_TEXT,
            price=_DECIMAL,
            cost=_DECIMAL,
            vat={"type": ["string", "null"], "description": "Percent."},
        ),
    },
    "rounding": {"type": "string", "description": "The rule, in words."},
    "warnings": {"type": "array", "items": obj(code=_TEXT, detail=_TEXT)},
}
PREVIEW = component("TariffPreview", {"type": "object", "required": list(_MEMBERS), "properties": _MEMBERS})


class TariffPreview(TenantAPIView):
    write_scope = ApiScope.BILLING

    @extend_schema(
        operation_id="tariffs_preview",
        summary="What a session would cost by a tariff; stores nothing",
        request=PreviewWrite,
        responses={200: PREVIEW},
    )
    def post(self, request: Request) -> Response:
        values = self.validated(PreviewWrite)
        session = values["session"]
        tariff = _tariff(values["tariff"], session["started_at"])
        try:
            rated = rating.rate(_charge(session), tariff, ZoneInfo(session["time_zone"]))
        except CannotRate as error:
            raise bad_request("/session/readings", str(error), error.code) from None
        return Response(rated_json(rated, tariff) | {"warnings": tariffs.advice(tariff)})


def _tariff(given: Any, at: datetime) -> Tariff:
    """The tariff itself, or the version in force at `at` of the one that is named. Raises 400."""
    if isinstance(given, str):
        version = in_force(given, at)
        if version is None:
            raise bad_request("/tariff", "There is no such tariff, or none of it is in force then.", "unknown_tariff")
        return version.terms
    try:
        return tariffs.parse(given, "/tariff")
    except tariffs.Fault as fault:
        raise Problem(400, "invalid", str(fault), errors=fault.errors) from None


def _charge(session: dict[str, Any]) -> Charge:
    started, stopped = _seconds(session["started_at"]), _seconds(session["stopped_at"])
    ended = None if session["charging_ended_at"] is None else _seconds(session["charging_ended_at"])
    reserved = session["reservation"]
    return Charge(
        started_at=started,
        stopped_at=stopped,
        readings=tuple(
            Reading(_seconds(one["timestamp"]), one["energy_wh"], one["power_w"], one["current_a"])
            for one in session["readings"]
        ),
        parked=() if ended is None or ended == stopped else ((ended, stopped),),
        reservation=reserved
        and Reserved(_seconds(reserved["from"]), _seconds(reserved["to"]), reserved["expired"]),
    )  # fmt: skip


def _seconds(at: datetime) -> int:
    return int(at.timestamp())


def rated_json(rated: Rated, tariff: Tariff) -> dict[str, Any]:
    """A rating as the API shows it: money as decimals of the currency's digits, volumes in kWh and hours."""
    digits = digits_of(tariff.currency)

    def money(price: Price) -> dict[str, str | None]:
        gross = price.incl_vat
        return {
            "excl_vat": text_of(price.excl_vat, digits),
            "incl_vat": None if gross is None else text_of(gross, digits),
        }

    return {
        "currency": tariff.currency,
        "total_cost": money(rated.total),
        **{f"total_{kind}_cost": money(rated.by_kind[kind]) for kind in _COSTS},
        "exact_cost": _exact(rated, tariff),
        "taxes": [
            {"rate": _percent(tax.vat_ppm), "net": text_of(tax.net, digits), "tax": text_of(tax.tax, digits)}
            for tax in rated.taxes
        ],
        "total_energy_kwh": _kwh(rated.energy_milliwh),
        "total_time_hours": _hours(rated.seconds),
        "total_parking_time_hours": _hours(rated.parked_seconds),
        "billed_energy_kwh": _kwh(rated.billed_energy_milliwh),
        "billed_time_hours": _hours(rated.billed_seconds),
        "billed_parking_time_hours": _hours(rated.billed_parked_seconds),
        "charging_periods": [_period(period, tariff) for period in rated.periods],
        "lines": [_line(line, digits) for line in rated.lines],
        "rounding": rating.ROUNDING,
    }


def _exact(rated: Rated, tariff: Tariff) -> dict[str, str | None]:
    factors = [Fraction(MICRO + (line.vat_ppm or 0), MICRO) for line in rated.lines]
    costs = [line.cost for line in rated.lines]
    known = tariff.tax_included or all(line.vat_ppm is not None for line in rated.lines)
    net = [cost / factor if tariff.tax_included else cost for cost, factor in zip(costs, factors, strict=True)]
    gross = [cost if tariff.tax_included else cost * factor for cost, factor in zip(costs, factors, strict=True)]
    return {
        "excl_vat": nearest_text(sum(net, Fraction(0)), 6),
        "incl_vat": nearest_text(sum(gross, Fraction(0)), 6) if known else None,
    }


def _kwh(milliwh: int) -> str:
    return nearest_text(Fraction(milliwh, MICRO), 6)


def _hours(seconds: int) -> str:
    return nearest_text(Fraction(seconds, HOUR), OCPI_DIGITS)


def _percent(vat_ppm: int) -> str:
    return nearest_text(Fraction(vat_ppm, 10_000), OCPI_DIGITS)


def _period(period: Period, tariff: Tariff) -> dict[str, Any]:
    """A ChargingPeriod of OCPI 2.2.1; volumes are numbers there."""
    time = Dimension.PARKING_TIME if period.parked else Dimension.TIME
    volumes = {"ENERGY": Fraction(period.energy_milliwh, MICRO), str(time): Fraction(period.seconds, HOUR)}
    return {
        "start_date_time": format_time(datetime.fromtimestamp(period.start, UTC)),
        "dimensions": [
            {"type": kind, "volume": float(nearest_text(volume, OCPI_DIGITS))} for kind, volume in volumes.items()
        ],
        "tariff_id": tariff.code or None,
    }


_WORDS = {
    "energy": "Energy", "time": "Charging time", "parking": "Parking time", "fixed": "Start fee",
    "reservation": "Reservation", "adjustment": "Minimum or maximum price",
}  # fmt: skip


def _line(line: Line, digits: int) -> dict[str, Any]:
    energy = line.kind == "energy"
    if line.quantity is None:
        quantity, unit, added = "1", "flat", ""
    elif energy:
        quantity, unit, added = _kwh(line.quantity), "kWh", _kwh(line.surplus)
    else:
        quantity, unit, added = _hours(line.quantity), "h", f"{line.surplus} s" if line.surplus else "0"
    stepped = f" ({added}{' kWh' if energy else ''} of it by the step size)" if line.surplus else ""
    adjusted = line.kind == "adjustment"
    return {
        "text": f"{_WORDS[line.kind]}{stepped}",
        "quantity": quantity,
        "unit": unit,
        "price": text_of(line.amount, digits) if adjusted else nearest_text(Fraction(line.price_micro, MICRO), 6),
        "cost": text_of(line.amount, digits),
        "vat": None if line.vat_ppm is None else _percent(line.vat_ppm),
    }
