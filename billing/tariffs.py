"""A tariff in the shape of OCPI 2.2.1, read from JSON and checked: elements of price components with restrictions.

Prices are integers of micro-units of the currency, per kWh, per hour, or flat; VAT in parts per million, None where the
tariff names none. Limits are integers too: mWh, mW, mA, seconds, minutes of the local day. What a tariff costs is
billing/rating.py's business.
Source: OCPI 2.2.1 (release-2.2.1-bugfixes), Tariffs module.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from billing import currencies
from billing.currencies import MICRO

WEEKDAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
MINUTES_OF_DAY = 24 * 60
MAX_ELEMENTS = 100
# A price, a limit and a step that nobody means; integers stay within 64 bits in any database.
MAX_PRICE = Decimal(1_000_000)
MAX_LIMIT = Decimal(1_000_000_000)
MAX_STEP = 1_000_000_000
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\Z")


class Dimension(StrEnum):
    """TariffDimensionType of OCPI."""

    ENERGY = "ENERGY"
    FLAT = "FLAT"
    PARKING_TIME = "PARKING_TIME"
    TIME = "TIME"


class ReservationKind(StrEnum):
    """ReservationRestrictionType of OCPI."""

    RESERVATION = "RESERVATION"
    RESERVATION_EXPIRES = "RESERVATION_EXPIRES"


@dataclass(frozen=True, slots=True)
class PriceComponent:
    """`price_micro` per kWh, hour, or flat. `step_size` in Wh or seconds; `vat_ppm` None: no VAT is named."""

    dimension: Dimension
    price_micro: int
    vat_ppm: int | None = None
    step_size: int = 1


@dataclass(frozen=True, slots=True)
class Restrictions:
    """What must hold for an element at an instant; None does not restrict.

    Times are minutes of the local day, from the first (inclusive) to the second (exclusive), which may be the smaller.
    Minima are inclusive, maxima exclusive.
    """

    start_minute: int | None = None
    end_minute: int | None = None
    start_date: date | None = None
    end_date: date | None = None
    weekdays: frozenset[int] | None = None
    min_energy_milliwh: int | None = None
    max_energy_milliwh: int | None = None
    min_power_milliw: int | None = None
    max_power_milliw: int | None = None
    min_current_milliamp: int | None = None
    max_current_milliamp: int | None = None
    min_duration_seconds: int | None = None
    max_duration_seconds: int | None = None
    reservation: ReservationKind | None = None

    @property
    def has_local_time(self) -> bool:
        return self.start_minute is not None or self.end_minute is not None

    @property
    def has_local_day(self) -> bool:
        return self.weekdays is not None or self.start_date is not None or self.end_date is not None


@dataclass(frozen=True, slots=True)
class Element:
    components: tuple[PriceComponent, ...]
    restrictions: Restrictions = field(default_factory=Restrictions)

    def component(self, dimension: Dimension) -> PriceComponent | None:
        return next((component for component in self.components if component.dimension is dimension), None)


@dataclass(frozen=True, slots=True)
class Limit:
    """A minimum or maximum price in micros; None where that side is not given."""

    excl_vat_micro: int | None = None
    incl_vat_micro: int | None = None


@dataclass(frozen=True, slots=True)
class Tariff:
    """`tax_included`: prices are gross. `grace_seconds`: of parking, before it costs anything."""

    code: str
    currency: str
    elements: tuple[Element, ...]
    min_price: Limit | None = None
    max_price: Limit | None = None
    grace_seconds: int = 0
    tax_included: bool = False


class Fault(Exception):
    """A tariff that cannot be; `errors` are {pointer, detail, code}."""

    def __init__(self, errors: Sequence[Mapping[str, str]]) -> None:
        super().__init__("The tariff is not valid.")
        self.errors = list(errors)


class _Reader:
    """Reads members and collects what is wrong with them."""

    def __init__(self) -> None:
        self.errors: list[dict[str, str]] = []

    def wrong(self, pointer: str, detail: str, code: str) -> None:
        self.errors.append({"pointer": pointer, "detail": detail, "code": code})

    def members(self, data: Any, pointer: str, known: frozenset[str]) -> dict[str, Any]:
        """`data` as an object, null members left out; each that is not known is wrong."""
        if not isinstance(data, dict):
            self.wrong(pointer, "This must be an object.", "not_an_object")
            return {}
        for name in data.keys() - known:
            self.wrong(f"{pointer}/{name}", "This member is not known.", "unknown_member")
        return {name: value for name, value in data.items() if value is not None}

    def items(self, data: Any, pointer: str) -> list[Any]:
        if not isinstance(data, list):
            self.wrong(pointer, "This must be a list.", "not_a_list")
            return []
        if not 1 <= len(data) <= MAX_ELEMENTS:
            self.wrong(pointer, f"This must have 1 to {MAX_ELEMENTS} items.", "wrong_length")
            return []
        return data

    def number(self, value: Any, pointer: str, *, scale: int = 1, most: Decimal = MAX_LIMIT) -> int:
        """A decimal, as text or number, from 0 to `most`, times `scale`: a whole number then."""
        try:
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise InvalidOperation
            number = Decimal(str(value).strip())
            if not number.is_finite():
                raise InvalidOperation
        except InvalidOperation:
            self.wrong(pointer, "This must be a number.", "invalid")
            return 0
        if not 0 <= number <= most:
            self.wrong(pointer, f"This must be from 0 to {most}.", "out_of_range")
            return 0
        scaled = number * scale
        if scaled != scaled.to_integral_value():
            digits = len(str(scale)) - 1
            self.wrong(pointer, f"This may have {digits} digits behind the point at most.", "too_precise")
            return 0
        return int(scaled)

    def choice(self, value: Any, pointer: str, choices: Sequence[str]) -> str | None:
        if value not in choices:
            self.wrong(pointer, f"This must be one of {', '.join(choices)}.", "invalid_choice")
            return None
        return str(value)


_TARIFF = frozenset({
    "code", "name", "currency", "elements", "min_price", "max_price", "grace_period_minutes", "tax_included",
    "valid_from", "valid_to", "version", "text",
})  # fmt: skip
_LIMITS: dict[str, tuple[str, int]] = {
    "min_kwh": ("min_energy_milliwh", MICRO), "max_kwh": ("max_energy_milliwh", MICRO),
    "min_power": ("min_power_milliw", MICRO), "max_power": ("max_power_milliw", MICRO),
    "min_current": ("min_current_milliamp", 1000), "max_current": ("max_current_milliamp", 1000),
    "min_duration": ("min_duration_seconds", 1), "max_duration": ("max_duration_seconds", 1),
}  # fmt: skip
_RESTRICTIONS = frozenset({"start_time", "end_time", "start_date", "end_date", "day_of_week", "reservation", *_LIMITS})


def parse(data: Any, pointer: str = "") -> Tariff:
    """The tariff that a JSON object describes, in the shape of the API's `tariffs/`. Raises Fault with pointers."""
    read = _Reader()
    given = read.members(data, pointer, _TARIFF)
    currency = given.get("currency")
    if not isinstance(currency, str) or not currencies.is_code(currency):
        read.wrong(f"{pointer}/currency", "This must be a currency's code by ISO 4217, such as EUR.", "invalid")
        currency = "XXX"
    tax_included = given.get("tax_included", False)
    if not isinstance(tax_included, bool):
        read.wrong(f"{pointer}/tax_included", "This must be true or false.", "invalid")
    elements = tuple(
        _element(read, element, f"{pointer}/elements/{index}")
        for index, element in enumerate(read.items(given.get("elements"), f"{pointer}/elements"))
    )
    grace = read.number(given.get("grace_period_minutes", 0), f"{pointer}/grace_period_minutes", scale=60)
    limits = {
        name: _limit(read, given[name], f"{pointer}/{name}", tax_included is True) if name in given else None
        for name in ("min_price", "max_price")
    }
    low, high = limits["min_price"], limits["max_price"]
    for side in ("excl_vat_micro", "incl_vat_micro"):
        ends = [getattr(limit, side) for limit in (low, high) if limit is not None]
        if len(ends) == 2 and None not in ends and ends[0] > ends[1]:
            read.wrong(f"{pointer}/min_price", "The minimum is above the maximum.", "contradiction")
            break
    if read.errors:
        raise Fault(read.errors)
    return Tariff(str(given.get("code", "")), currency, elements, low, high, grace, tax_included)


def _element(read: _Reader, data: Any, pointer: str) -> Element:
    given = read.members(data, pointer, frozenset({"price_components", "restrictions"}))
    components: list[PriceComponent] = []
    for index, item in enumerate(read.items(given.get("price_components"), f"{pointer}/price_components")):
        at = f"{pointer}/price_components/{index}"
        component = _component(read, item, at)
        if any(component.dimension is other.dimension for other in components):
            read.wrong(at, f"The element has a price for {component.dimension} already.", "repeated_dimension")
        components.append(component)
    restrictions = _restrictions(read, given.get("restrictions", {}), f"{pointer}/restrictions")
    if restrictions.reservation is not None:
        for index, component in enumerate(components):
            if component.dimension not in (Dimension.FLAT, Dimension.TIME):
                read.wrong(
                    f"{pointer}/price_components/{index}/type", "A reservation costs FLAT and TIME only.", "not_here"
                )
    return Element(tuple(components), restrictions)


def _component(read: _Reader, data: Any, pointer: str) -> PriceComponent:
    given = read.members(data, pointer, frozenset({"type", "price", "vat", "step_size"}))
    for name in ("type", "price"):
        if name not in given:
            read.wrong(f"{pointer}/{name}", "This member is required.", "required")
    dimension = read.choice(given["type"], f"{pointer}/type", list(Dimension)) if "type" in given else None
    price = read.number(given.get("price", 0), f"{pointer}/price", scale=MICRO, most=MAX_PRICE)
    vat = read.number(given["vat"], f"{pointer}/vat", scale=10_000, most=Decimal(100)) if "vat" in given else None
    step = read.number(given.get("step_size", 1), f"{pointer}/step_size", most=Decimal(MAX_STEP))
    return PriceComponent(Dimension(dimension or Dimension.FLAT), price, vat, step)


def _restrictions(read: _Reader, data: Any, pointer: str) -> Restrictions:
    given = read.members(data, pointer, _RESTRICTIONS)
    found: dict[str, Any] = {}
    for name, (attribute, scale) in _LIMITS.items():
        if name in given:
            found[attribute] = read.number(given[name], f"{pointer}/{name}", scale=scale)
    for name in ("min_kwh", "min_power", "min_current", "min_duration"):
        low, high = (found.get(_LIMITS[end][0]) for end in (name, name.replace("min", "max")))
        if low is not None and high is not None and low >= high:
            read.wrong(f"{pointer}/{name}", "The minimum is not below the maximum: it never matches.", "contradiction")
    for name, attribute in (("start_time", "start_minute"), ("end_time", "end_minute")):
        if name in given:
            matched = _TIME.match(given[name]) if isinstance(given[name], str) else None
            if matched is None:
                read.wrong(f"{pointer}/{name}", "This must be a local time such as 17:00.", "invalid")
            else:
                found[attribute] = int(matched[1]) * 60 + int(matched[2])
    if found.get("end_minute") == 0:
        found["end_minute"] = MINUTES_OF_DAY
    if "start_minute" in found and found["start_minute"] == found.get("end_minute"):
        read.wrong(f"{pointer}/end_time", "It is the start_time: it never matches.", "contradiction")
    for name in ("start_date", "end_date"):
        if name in given:
            try:
                found[name] = date.fromisoformat(given[name])
            except (TypeError, ValueError):
                read.wrong(f"{pointer}/{name}", "This must be a date such as 2026-01-31.", "invalid")
    if "start_date" in found and "end_date" in found and found["start_date"] >= found["end_date"]:
        read.wrong(f"{pointer}/end_date", "It is not after the start_date: it never matches.", "contradiction")
    if "day_of_week" in given:
        days = [
            read.choice(day, f"{pointer}/day_of_week/{index}", WEEKDAYS)
            for index, day in enumerate(read.items(given["day_of_week"], f"{pointer}/day_of_week"))
        ]
        found["weekdays"] = frozenset(WEEKDAYS.index(day) for day in days if day is not None)
    if "reservation" in given:
        kind = read.choice(given["reservation"], f"{pointer}/reservation", list(ReservationKind))
        found["reservation"] = kind and ReservationKind(kind)
    return Restrictions(**found)


def _limit(read: _Reader, data: Any, pointer: str, tax_included: bool) -> Limit:
    """A limit as OCPI's Price object, or as one decimal on the basis of the tariff's prices."""
    if not isinstance(data, dict):
        micro = read.number(data, pointer, scale=MICRO, most=MAX_PRICE)
        return Limit(incl_vat_micro=micro) if tax_included else Limit(excl_vat_micro=micro)
    given = read.members(data, pointer, frozenset({"excl_vat", "incl_vat"}))
    if not given:
        read.wrong(pointer, "Name excl_vat, incl_vat or both.", "required")
    sides = {
        f"{name}_micro": read.number(value, f"{pointer}/{name}", scale=MICRO, most=MAX_PRICE)
        for name, value in given.items()
        if name in ("excl_vat", "incl_vat")
    }
    return Limit(**sides)


def advice(tariff: Tariff) -> list[dict[str, str]]:
    """What is allowed but may not be meant, as {code, detail}."""
    found = []
    for dimension in Dimension:
        of_dimension = [
            element.restrictions
            for element in tariff.elements
            if element.component(dimension) is not None and element.restrictions.reservation is None
        ]
        if of_dimension and of_dimension[-1] != Restrictions():
            found.append({
                "code": "no_last_resort",
                "detail": f"{dimension} is free whenever no restriction matches: end with an element without any.",
            })  # fmt: skip
    return found
